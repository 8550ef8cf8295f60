import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import type { Test } from 'tap';
import { parseExposition, valueOf } from '../observe/exposition.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { COMMAND, type LogLine, MODES, Qtunnel, startClient, startQtunnel, startServer, startTunnel } from '../support/qtunnel.ts';
import {
  dial,
  echoes,
  echoServer,
  ending,
  freePort,
  listen,
  receive,
  receiveSummed,
  sendSummed,
  type Sum,
} from '../support/tcp.ts';
import { UdpRelay } from '../support/udp-relay.ts';
import { onLinux } from '../support/workers.ts';

/** Without a way out over TLS, which a slow start would take. */
const TWO = ['-workers=2', '-fallback=false'];

for (const mode of MODES) {
  test(`${mode}: two workers on each side share the connections evenly, and metrics are their sum`, onLinux, async (t) => {
    const port = await freePort();
    const { server, client } = await startTunnel(t, mode, await echoServer(t), {
      serverFlags: TWO,
      clientFlags: [...TWO, `-metrics=127.0.0.1:${port}`],
    });
    await eventually('a link of each worker', () => workersOf(client.process.events('link_up')).length === 2);
    for (const side of [server, client]) t.equal(privateAddons(side.process.pid), mode === 'quic' ? 2 : 0);
    const sockets = await Promise.all(Array.from({ length: 8 }, () => dial(t, client.port)));
    const block = Buffer.alloc(100_000, 'x');
    t.ok((await Promise.all(sockets.map((socket) => echoes(socket, block)))).every(Boolean));
    const openings = (side: { readonly process: Qtunnel }): LogLine[] => side.process.events('stream_open');
    await eventually('all lines', () => openings(client).length === 8 && openings(server).length === 8);
    t.same(workersOf(openings(client)), [1, 1, 1, 1, 2, 2, 2, 2]);
    t.same(new Set(workersOf(openings(server))), new Set([1, 2]));
    const lines = openings(client);
    t.ok(lines.every((line) => line['tunnel'] === 'default' && line['level'] === 'debug' && typeof line['tag'] === 'string'));

    const samples = parseExposition(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
    t.equal(valueOf(samples, 'qtunnel_streams_open'), 8);
    t.equal(valueOf(samples, 'qtunnel_links', { transport: mode }), 2);
    t.equal(valueOf(samples, 'qtunnel_payload_bytes_total', { direction: 'received' }), 800_000);
    const ready = await fetch(`http://127.0.0.1:${port}/ready`);
    t.equal(ready.status, 200);
    t.match(await ready.json(), { ready: true, tunnels: [{ tag: 'default', transport: mode }] });
  });

  test(`${mode}: -max-connections counts the connections of all workers`, onLinux, async (t) => {
    const backend = await echoServer(t);
    const limit = '-max-connections=3';
    for (const flags of [
      { serverFlags: TWO, clientFlags: [...TWO, limit] },
      { serverFlags: [...TWO, limit], clientFlags: TWO },
    ]) {
      const { port } = await startTunnel(t, mode, backend, flags);
      const three = [await dial(t, port), await dial(t, port), await dial(t, port)];
      for (const socket of three) t.ok(await echoes(socket, 'within the limit'));
      t.notOk(await serves(t, port));
      three[0]!.destroy();
      await eventually('room for one', () => serves(t, port));
    }
  });

  test(`${mode}: SIGTERM waits for the connections of all workers`, onLinux, async (t) => {
    const { port, server, client } = await startTunnel(t, mode, await echoServer(t), { serverFlags: TWO, clientFlags: TWO });
    await eventually('a link of each worker', () => workersOf(client.process.events('link_up')).length === 2);
    const [one, other] = [await dial(t, port), await dial(t, port)];
    t.ok((await echoes(one, 'one')) && (await echoes(other, 'other')));
    server.process.child.kill('SIGTERM');
    await server.process.event('stopping');
    one.end();
    t.equal(await ending(one), 'fin');
    t.ok(await echoes(other, 'still here'));
    other.end();
    t.equal(await ending(other), 'fin');
    t.same(await server.process.end(), { code: 0, signal: null });
    t.same(await client.process.kill('SIGTERM'), { code: 0, signal: null });
  });

  test(`${mode}: SIGHUP changes all workers or none`, onLinux, async (t) => {
    const [first, second, port, elsewhere] = [
      await greeter(t, 'first!'),
      await greeter(t, 'second'),
      await freePort(),
      await freePort(),
    ];
    const stateDir = temporaryFolder(t);
    const file = join(stateDir, 'tunnels.yaml');
    const configure = (listenPort: number, backend: number, more = ''): void =>
      writeFileSync(
        file,
        `log-level: debug\nworkers: 2\ndefaults: { fallback: false }\ntunnels:\n  web: { listen: "127.0.0.1:${listenPort}", backend: "127.0.0.1:${backend}", quic: ${mode === 'quic'}, state-dir: "${stateDir}" }\n${more}`,
      );
    configure(port, first);
    const server = startQtunnel(t, [`-conf=${file}`]);
    await server.event('listening');
    const client = await startClient(t, { mode, server: port, flags: TWO });
    await eventually('a link of each worker', () => workersOf(client.process.events('link_up')).length === 2);
    const open = await dial(t, client.port);
    t.equal((await receive(open, 6)).toString(), 'first!');

    configure(port, second);
    server.child.kill('SIGHUP');
    await server.event('reloaded');
    for (let n = 0; n < 4; n++) t.equal((await receive(await dial(t, client.port), 6)).toString(), 'second');

    configure(port, first, `  bad: { listen: "127.0.0.1:${await listen(t, () => {})}", backend: "127.0.0.1:1" }\n`);
    server.child.kill('SIGHUP');
    t.match(await server.event('reload_failed'), { err: { code: 'LISTEN_FAILED' } });
    for (let n = 0; n < 2; n++) t.equal((await receive(await dial(t, client.port), 6)).toString(), 'second');

    configure(elsewhere, second);
    const seen = server.log.length;
    server.child.kill('SIGHUP');
    await server.event('listening', {}, { skip: seen });
    const moved = await startClient(t, { mode, server: elsewhere });
    t.equal((await receive(await dial(t, moved.port), 6)).toString(), 'second');
    open.end();
    t.equal(await ending(open), 'fin', 'what was open has lived through all of it');
  });
}

test('four workers on each side carry 400 MB', onLinux, async (t) => {
  const flags = {
    serverFlags: ['-workers=4', '-fallback=false', '-log-level=info'],
    clientFlags: ['-workers=4', '-fallback=false'],
  };
  const sums = new Map<number, Promise<Sum>>();
  let next = 0;
  const backend = await listen(t, (socket) => {
    sums.set(
      next++,
      receiveSummed(socket).then((sum) => (socket.end(), sum)),
    );
  });
  const { client } = await startTunnel(t, 'quic', backend, flags);
  await eventually('a link of each worker', () => client.process.events('link_up').length === 4);
  const sockets = await Promise.all(Array.from({ length: 8 }, () => dial(t, client.port)));
  const sent = await Promise.all(sockets.map((socket) => sendSummed(socket, 50_000_000)));
  await Promise.all(sockets.map((socket) => ending(socket)));
  const received = await Promise.all(sums.values());
  t.same(new Set(received.map(({ sha256 }) => sha256)), new Set(sent.map(({ sha256 }) => sha256)));
});

test('a client whose address changes stays with the worker that has its link', onLinux, async (t) => {
  const server = await startServer(t, { mode: 'quic', backend: await echoServer(t), flags: ['-workers=4'] });
  const relay = await UdpRelay.open(t, server.port);
  const client = await startClient(t, { mode: 'quic', server: relay.port, flags: ['-fallback=false'] });
  const socket = await dial(t, client.port);
  t.ok(await echoes(socket, 'before'));
  for (let n = 1; n <= 8; n++) {
    await relay.rebind();
    t.ok(await echoes(socket, `from address ${n}`));
  }
  t.equal(server.process.events('link_up').length, 1);
});

test('over TLS a link’s connections are shared among the server’s workers, and end with the link', onLinux, async (t) => {
  const server = await startServer(t, { mode: 'tls', backend: await echoServer(t), flags: TWO });
  const client = await startClient(t, { mode: 'tls', server: server.port });
  const opened = (): LogLine[] => server.process.events('stream_open');
  // A connection takes whichever way is ready first, so it may be a while before both workers have had one.
  let connections = 0;
  for (; new Set(workersOf(opened())).size < 2 && connections < 200; connections++)
    t.ok(await echoes(await dial(t, client.port), 'here'));
  await eventually('all lines', () => opened().length === connections);
  t.same(new Set(workersOf(opened())), new Set([1, 2]));
  t.equal(new Set(opened().map((line) => line['link'])).size, 1, 'they belong to one link');
  t.equal(server.process.events('link_up').length, 1, 'which is told of once');
  await client.process.kill('SIGKILL');
  await server.process.event('link_down');
  await server.process.event('branch_down');
  await eventually('all are over', () => server.process.events('stream_closed').length === connections);
});

test('a port that is taken is refused as with one worker, and leaves nothing behind', onLinux, async (t) => {
  const stateDir = temporaryFolder(t);
  const taken = await startServer(t, { mode: 'quic', backend: 1, stateDir, flags: TWO });
  const tcp = await listen(t, () => {});
  for (const flags of [
    [`-listen=127.0.0.1:${taken.port}`, '-quic', '-fallback=false'],
    [`-listen=127.0.0.1:${tcp}`, '-quic'],
    [`-listen=127.0.0.1:${tcp}`, '-clientmode'],
  ]) {
    const [one, two] = [
      await refusal(t, [...flags, `-state-dir=${stateDir}`]),
      await refusal(t, [...flags, `-state-dir=${stateDir}`, '-workers=2']),
    ];
    t.same(two, one, flags.join(' '));
    t.match(one, { code: 1, sentence: /^qtunnel: Cannot listen on / });
  }
});

test('a worker that fails ends the process, which says so', onLinux, async (t) => {
  const folder = temporaryFolder(t);
  const trigger = join(folder, 'now');
  const hook = join(folder, 'hook.mjs');
  writeFileSync(
    hook,
    `import { existsSync, unlinkSync } from 'node:fs';
     import { isMainThread } from 'node:worker_threads';
     if (!isMainThread) setInterval(() => {
       if (!existsSync(${JSON.stringify(trigger)})) return;
       try { unlinkSync(${JSON.stringify(trigger)}); } catch { return; }
       throw new Error('out of luck');
     }, 20);`,
  );
  const port = await freePort();
  const args = [
    '--import',
    hook,
    COMMAND,
    '-log-format=json',
    `-listen=127.0.0.1:${port}`,
    '-quic',
    `-state-dir=${folder}`,
    ...TWO,
  ];
  const server = new Qtunnel(process.execPath, args, { env: { QTUNNEL_SECRET: 'a secret' } });
  t.teardown(() => server.kill());
  await server.event('listening');
  const client = await startClient(t, { mode: 'quic', server: port, secret: 'a secret' });
  const application = await dial(t, client.port);
  writeFileSync(trigger, '');
  t.same(await server.end(), { code: 1, signal: null });
  t.notOk(existsSync(trigger));
  t.match(server.events('failed'), [{ level: 'error', err: { code: 'INTERNAL' }, msg: /^Worker [12] has failed \(out of luck\)/ }]);
  application.destroy();
});

test('where sockets cannot be shared one worker does it all, and says so', async (t) => {
  const folder = temporaryFolder(t);
  const hook = join(folder, 'hook.cjs');
  writeFileSync(
    hook,
    `const Module = require('node:module');
     const resolve = Module._resolveFilename;
     Module._resolveFilename = (name, ...rest) => {
       if (name === 'koffi') throw new Error('not installed');
       return resolve(name, ...rest);
     };`,
  );
  const port = await freePort();
  const flags = [`-listen=127.0.0.1:${port}`, `-backend=127.0.0.1:${await echoServer(t)}`, '-quic', `-state-dir=${folder}`, ...TWO];
  const server = new Qtunnel(process.execPath, ['--require', hook, COMMAND, '-log-format=json', ...flags], {
    env: { QTUNNEL_SECRET: 'a secret' },
  });
  t.teardown(() => server.kill());
  t.match(await server.event('workers'), { level: 'warn', msg: /^-workers=2 needs Linux and the package koffi/ });
  await server.event('listening');
  const client = await startClient(t, { mode: 'quic', server: port, secret: 'a secret' });
  t.ok(await echoes(await dial(t, client.port), 'all the same'));
});

function workersOf(lines: readonly LogLine[]): number[] {
  return lines.map((line) => Number(line['worker'])).toSorted((a, b) => a - b);
}

async function refusal(t: Test, flags: readonly string[]): Promise<{ code: number | null; sentence: string | undefined }> {
  const refused = startQtunnel(t, flags);
  const { code } = await refused.end();
  return { code, sentence: refused.lines.find((line) => line.startsWith('qtunnel: ')) };
}

/** How many copies of QUIC's native part the threads of a process have. */
function privateAddons(pid: number): number {
  const mapped = readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:qtunnel addon'));
  return new Set(mapped.map((line) => line.split(/ +/)[4])).size;
}

/** Whether a new connection is carried; one that is refused may be reset before it is seen. */
async function serves(t: Test, port: number): Promise<boolean> {
  try {
    return await echoes(await dial(t, port), 'again');
  } catch {
    return false;
  }
}

/** Says a word to whoever comes, and ends when he does. */
function greeter(t: Test, word: string): Promise<number> {
  return listen(t, (socket) => {
    socket.write(word);
    socket.resume().on('end', () => socket.end());
  });
}
