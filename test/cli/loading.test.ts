import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { COMMAND, startClient, startQtunnel, startServer } from '../support/qtunnel.ts';

/** What a process has loaded is what it would have said of its coverage. */
const REPORT = 'NODE_V8_COVERAGE';

const ASKED: readonly [words: readonly string[], libraries: readonly string[]][] = [
  [['-help'], []],
  [['completion', 'words', 'hub', '-'], []],
  [['completion', 'bash'], []],
  [['-version'], ['yargs']],
  [['mapping', 'list', '-help'], ['yargs']],
  [['-check'], ['yaml', 'yargs']],
];

for (const [words, libraries] of ASKED) {
  test(`qtunnel ${words.join(' ')} loads ${libraries.join(' and ') || 'no library'}`, async (t) => {
    const folder = temporaryFolder(t);
    await run(t, process.execPath, [COMMAND, ...words], { env: { [REPORT]: folder } });
    t.same(librariesIn(folder), libraries);
  });
}

test('a server and a client load what connections need, and nothing for files, certificates and metrics that they do not have', async (t) => {
  const [ofServer, ofClient] = [temporaryFolder(t), temporaryFolder(t)];
  const mode = 'quic';
  const server = await startServer(t, { mode, backend: 1, env: { [REPORT]: ofServer } });
  const client = await startClient(t, { mode, server: server.port, env: { [REPORT]: ofClient } });
  for (const { process } of [client, server]) t.equal((await process.kill('SIGTERM')).code, 0);
  for (const folder of [ofServer, ofClient])
    t.same(
      librariesIn(folder).filter((name) => name !== 'koffi'),
      ['@matrixai/quic', 'pino', 'yargs'],
    );
});

test('an agent that may not even begin has loaded no driver', async (t) => {
  const folder = temporaryFolder(t);
  const { code } = await startQtunnel(t, ['agent'], { env: { [REPORT]: folder } }).end();
  t.equal(code, 2);
  t.notOk(librariesIn(folder).includes('@matrixai/quic'));
});

/** The libraries of package.json among all scripts that a process has loaded. */
function librariesIn(folder: string): string[] {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
  const known = Object.keys({ ...dependencies, ...optionalDependencies });
  const loaded = readdirSync(folder).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { result: { url: string }[] };
    return result
      .filter(({ url }) => !FORGE_ASN1.test(url))
      .map(({ url }) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]);
  });
  return known.filter((name) => loaded.includes(name)).toSorted();
}

/** A tenth of node-forge, which loads by itself. */
const FORGE_ASN1 = /\/node-forge\/lib\/(?:asn1|baseN|forge|oids|util)\.js$/;

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}
