import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { parseExposition, valueOf } from '../observe/exposition.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { MODES, startClient, startQtunnel, startServer } from '../support/qtunnel.ts';
import { childOf, endWithChildren } from '../support/supervised.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';

const SUPERVISE = ['-supervise', '-hang-timeout=2s'];
const LOAD = 10;

for (const mode of MODES) {
  test(`${mode}: the server's child is killed with -9 under load: it is back at the same port`, async (t) => {
    const metrics = await freePort();
    const backend = await echoServer(t);
    const server = await startServer(t, { mode, backend, flags: [...SUPERVISE, `-metrics=127.0.0.1:${metrics}`] });
    endWithChildren(t, server.process);
    const client = await startClient(t, { mode, server: server.port });
    const sockets = await Promise.all(Array.from({ length: LOAD }, () => dial(t, client.port)));
    t.ok((await Promise.all(sockets.map((socket) => echoes(socket, 'open')))).every(Boolean));
    const seen = client.process.log.length;
    process.kill(childOf(server.process), 'SIGKILL');

    t.same(new Set(await Promise.all(sockets.map(ending))), new Set(['reset']), 'what was open is reset');
    await server.process.event('child_died', { signal: 'SIGKILL' });
    await server.process.event('restarting', { restarts: 1 });
    await client.process.event('link_up', { transport: mode }, { skip: seen });
    const further = await dial(t, client.port);
    t.ok(await echoes(further, 'new connections work'));
    further.end();
    t.equal(await ending(further), 'fin');
    const samples = parseExposition(await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text());
    t.equal(valueOf(samples, 'qtunnel_restarts_total'), 1);

    server.process.child.kill('SIGTERM');
    const { code } = await server.process.end();
    t.equal(code, 0, 'and ends as it would without a supervisor');
  });
}

test("a client's child hangs: it is killed; connections made meanwhile wait and are carried", async (t) => {
  const backend = await echoServer(t);
  const server = await startServer(t, { mode: 'tls', backend });
  const client = await startClient(t, { mode: 'tls', server: server.port, flags: SUPERVISE });
  endWithChildren(t, client.process);
  const open = await dial(t, client.port);
  t.ok(await echoes(open, 'open'));
  const pid = childOf(client.process);
  process.kill(pid, 'SIGSTOP');
  const waiting = await dial(t, client.port);
  await client.process.event('child_hung', { pid });
  await client.process.event('child_died', { pid, signal: 'SIGKILL' });
  t.ok(await ending(open), 'what was open ends: the kernel closes what a process leaves behind');
  t.ok(await echoes(waiting, 'accepted by the next'));
});

test('a client that dies again and again: no connection is refused, and one made while nobody is there is carried', async (t) => {
  const server = await startServer(t, { mode: 'tls', backend: await echoServer(t) });
  const client = await startClient(t, { mode: 'tls', server: server.port, flags: SUPERVISE });
  endWithChildren(t, client.process);
  for (let died = 1; died <= 2; died++) {
    const pid = childOf(client.process);
    process.kill(pid, 'SIGKILL');
    await client.process.event('child_died', { pid });
    t.ok(await echoes(await dial(t, client.port), `after ${died}`), 'it waited for the next child');
    await eventually('the next one is ready', () => client.process.events('listening').length === died + 1);
  }
});

test('a wrong command line, a port that is taken: the supervisor ends as the command would', async (t) => {
  const wrong = startQtunnel(t, ['-supervise', '-listen=nowhere']);
  t.equal((await wrong.end()).code, 2);
  const taken = startQtunnel(t, ['-supervise', `-listen=127.0.0.1:${await echoServer(t)}`, '-backend=127.0.0.1:1']);
  t.equal((await taken.end()).code, 1);
  t.match(taken.output, /Cannot listen on/);
  t.equal(taken.events('restarting').length, 0);
});

test('SIGHUP reaches the child; a port that is left is free', async (t) => {
  const folder = temporaryFolder(t);
  const conf = join(folder, 'tunnels.yaml');
  const [one, other] = [await freePort(), await freePort()];
  const listenOn = (port: number) =>
    writeFileSync(conf, `tunnels:\n  a:\n    listen: 127.0.0.1:${port}\n    backend: 127.0.0.1:1\n    state-dir: ${folder}\n`);
  listenOn(one);
  const server = startQtunnel(t, [...SUPERVISE, `-conf=${conf}`]);
  endWithChildren(t, server);
  await server.event('listening');
  listenOn(other);
  server.child.kill('SIGHUP');
  await server.event('reloaded');
  await dial(t, other);
  await eventually('the port is left', () => refuses(t, one));
});

test("the command line is in no child's process list", async (t) => {
  const secret = 'not for the process list';
  const server = startQtunnel(t, ['-supervise', '-listen=127.0.0.1:0', '-backend=127.0.0.1:1', `-secret=${secret}`], {
    secret: null,
  });
  endWithChildren(t, server);
  await server.event('child_started');
  const pid = childOf(server);
  t.notMatch(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), secret);
  await server.event('listening');
  t.notMatch(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), secret);
});

async function refuses(t: Test, port: number): Promise<boolean> {
  try {
    (await dial(t, port)).destroy();
    return false;
  } catch {
    return true;
  }
}
