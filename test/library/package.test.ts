import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { type Test, test } from 'tap';
import { startServer } from '../../src/index.ts';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { echoServer } from '../support/tcp.ts';

const TYPED = `
import type { Duplex } from 'node:stream';
import { connect, ERROR_CODES, type ErrorCode, QtunnelError, startClient, startServer } from 'qtunnel';
import type { ClientOptions, ConnectOptions, LinkInfo, ServerOptions, TunnelClient, TunnelServer } from 'qtunnel';

export async function use(signal: AbortSignal): Promise<void> {
  const options: ServerOptions = { listen: { host: '::', port: 0 }, quic: true, idleTimeout: '5s', buffer: 65536, congestion: 'cubic' };
  await using server: TunnelServer = await startServer({ ...options, signal });
  const port: number = server.address.port;
  const client: TunnelClient = await startClient({ backend: { host: 'localhost', port }, pin: server.fingerprint });
  client.on('linkUp', (link) => { const info: LinkInfo = link; void info.transport.toUpperCase(); });
  client.on('linkFailed', (error, { retryIn }) => { const code: ErrorCode = error.code; void [code, retryIn.toFixed()]; });
  server.on('turnedAway', (error, peer) => { void [error.code, peer.trim()]; });
  server.on('connectionEnd', ({ sent, reason }) => { void [sent.toFixed(), reason?.toLowerCase()]; });
  const stream: Duplex = await client.connect({ signal });
  stream.destroy(new QtunnelError('ABORTED', ERROR_CODES.join()));
  const one: ConnectOptions = { backend: 'host:1', secret: null };
  await connect(one);
  const host: string | undefined = client.address?.host;
  void host;
}

// @ts-expect-error a server has no pin
export const pinned: ServerOptions = { pin: 'x' };
// @ts-expect-error a client judges no clients
export const judging: ClientOptions = { clientCa: 'x' };
export const certified: ClientOptions = { certFile: 'x', keyFile: 'y' };
// @ts-expect-error the function says the role
export const moded: ClientOptions = { clientmode: true };
// @ts-expect-error one of its words
export const congested: ServerOptions = { congestion: 'vegas' };
// @ts-expect-error there is no such option
export const unknown: ServerOptions = { listne: ':1' };
// @ts-expect-error a single connection has no local port
export const listening: ConnectOptions = { listen: ':1' };
// @ts-expect-error null until the client listens
export const certain = (client: TunnelClient): string => client.address.host;
`;

test('the types of the built package, by its name', async (t) => {
  const folder = userOfThePackage(t);
  writeFileSync(join(folder, 'use.ts'), TYPED);
  for (const [index, example] of examples().entries())
    writeFileSync(join(folder, `example${index}.ts`), `${example}\nexport {};\n`);
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    types: ['node'],
    typeRoots: [resolve('node_modules/@types')],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  await run(t, resolve('node_modules/.bin/tsc'), ['-p', folder]);
  t.pass('compiles, and what must not compile does not');
});

test('the examples of docs/LIBRARY.md run', async (t) => {
  const [one, many, serving] = examples();
  t.equal(examples().length, 3);
  const http = createServer((_, response) => response.end('from the backend')).listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.teardown(() => http.close());

  t.equal(await runExample(t, one!, await serverFor(t, await echoServer(t))), 'hello');
  const lines = (await runExample(t, many!, await serverFor(t, (http.address() as AddressInfo).port))).split('\n');
  t.match(lines[0], /^up over quic to 127\.0\.0\.1:\d+$/);
  t.equal(lines[1], '200 from the backend');
  t.match(await runExample(t, serving!, 0), /^\d+ [0-9a-f]{64}$/);
});

async function serverFor(t: Test, port: number): Promise<number> {
  const backend = { host: '127.0.0.1', port };
  const server = await startServer({ listen: '127.0.0.1:0', backend, quic: true, secret: 'S', stateDir: temporaryFolder(t) });
  t.teardown(() => server.close());
  return server.address.port;
}

async function runExample(t: Test, example: string, port: number): Promise<string> {
  const folder = userOfThePackage(t);
  const file = join(folder, 'example.js');
  writeFileSync(file, example.replace('localhost:9001', `127.0.0.1:${port}`));
  return await run(t, process.execPath, [file], { env: { XDG_STATE_HOME: folder } });
}

function examples(): string[] {
  const markdown = readFileSync('docs/LIBRARY.md', 'utf8');
  return [...markdown.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code!);
}

/** The folder of a program that has the package installed. */
function userOfThePackage(t: Test): string {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(resolve('.'), join(folder, 'node_modules', 'qtunnel'), 'dir');
  writeFileSync(join(folder, 'package.json'), '{"type":"module","private":true}');
  return folder;
}
