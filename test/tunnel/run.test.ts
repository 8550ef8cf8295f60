import { type Config, quiche } from '@matrixai/quic/native/index.js';
import type { Socket } from 'node:net';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import type { QtunnelError } from '../../src/errors.ts';
import { type RunningTunnels, runTunnels } from '../../src/tunnel/run.ts';
import { eventually } from '../support/deadline.ts';
import { dial, echoes, echoServer, ending, freePort, receiveAll } from '../support/tcp.ts';
import { tunnelSettings } from './tunnels.ts';

const SILENT = pino({ level: 'silent' }, { write() {} });
const here = (port: number) => ({ host: '127.0.0.1', port });

void test('a reload in which one tunnel cannot start changes none of them and leaves nothing open', async (t) => {
  const [serverPort, clientPort, free, taken] = [await freePort(), await freePort(), await freePort(), await echoServer(t)];
  const far = tunnelSettings(t, { tag: 'far', quic: false, listen: here(serverPort), backend: here(taken) });
  const near = tunnelSettings(t, {
    tag: 'near',
    clientmode: true,
    quic: false,
    listen: here(clientPort),
    backend: here(serverPort),
  });
  const running = await runTunnels([far, near], { log: SILENT, metrics: null });
  t.teardown(() => running.close());
  const old = await dial(t, clientPort);
  t.ok(await echoes(old, 'before'));
  const moved = { ...near, listen: here(free), backend: here(1) };
  const bad = tunnelSettings(t, { tag: 'bad', clientmode: true, listen: here(taken), backend: here(serverPort) });
  await t.rejects(running.reload([{ ...far, maxConnections: 1 }, moved, bad]), { code: 'LISTEN_FAILED' });
  await t.rejects(dial(t, free), 'what was opened for it is closed');
  t.ok(await echoes(await dial(t, clientPort), 'as before'));

  await running.reload([far, moved]);
  await t.rejects(dial(t, clientPort));
  t.ok(await echoes(old, 'goes on'));
});

void test('a reload for which QUIC’s settings cannot be made changes no tunnel, whichever of them they are for', async (t) => {
  const [first, second, clientPort] = [await freePort(), await freePort(), await freePort()];
  const backend = here(await echoServer(t));
  const one = tunnelSettings(t, { tag: 'one', fallback: false, listen: here(first), backend });
  const two = tunnelSettings(t, { tag: 'two', fallback: false, listen: here(second), backend });
  const near = tunnelSettings(t, {
    tag: 'near',
    clientmode: true,
    fallback: false,
    listen: here(clientPort),
    backend: here(first),
  });
  const running = await runTunnels([one, two, near], { log: SILENT, metrics: null });
  t.teardown(() => running.close());
  const old = await dial(t, clientPort);
  t.ok(await echoes(old, 'before'));
  const nowhere = here(await freePort());
  for (let nth = 1; ; nth++) {
    const idleTimeout = 20_000 + nth;
    const changed = [
      { ...one, backend: nowhere, idleTimeout },
      { ...two, backend: nowhere, idleTimeout },
      { ...near, backend: here(second), idleTimeout },
    ];
    const restore = failConfig(nth);
    const outcome = await running.reload(changed).then(
      () => 'reloaded',
      ({ code }: QtunnelError) => code,
    );
    restore();
    t.equal(outcome, nth <= 3 ? 'INTERNAL' : 'reloaded', `settings ${nth}`);
    if (outcome === 'reloaded') break;
    t.ok(await echoes(old, 'goes on'));
    t.ok(await echoes(await dial(t, clientPort), 'as before'));
  }
  t.ok(await echoes(old, 'goes on'));
  t.equal(await ending(await dial(t, clientPort)), 'reset', 'the new backend counts');
});

/** Lets the `nth` of quiche's settings from now on fail to be made; returns what ends that. */
function failConfig(nth: number): () => void {
  const { prototype } = quiche.Config;
  const { setApplicationProtos } = prototype;
  let calls = 0;
  prototype.setApplicationProtos = function fail(this: Config, protocols: string[]) {
    if (++calls === nth) throw Object.assign(new Error('Injected'), { code: 'GenericFailure' });
    return setApplicationProtos.call(this, protocols);
  };
  return () => (prototype.setApplicationProtos = setApplicationProtos);
}

void test('a tunnel that is taken out goes on until its connections have ended, and is waited for', async (t) => {
  const { running, application, clientPort } = await withoutItsClient(t);
  await t.rejects(dial(t, clientPort), 'it takes no new ones');
  t.ok(await echoes(application, 'goes on'));
  let over = false;
  const drained = running.drain().finally(() => (over = true));
  t.ok(await echoes(application, 'still'));
  t.notOk(over);
  application.end();
  await receiveAll(application);
  t.equal(await drained, true);
});

void test('closing cuts off a tunnel that was taken out, too', async (t) => {
  const { running, application } = await withoutItsClient(t);
  await running.close();
  t.equal(await ending(application), 'reset');
});

void test('a tunnel that changes sides takes effect only when all is ready', async (t) => {
  const [port, other, taken] = [await freePort(), await freePort(), await echoServer(t)];
  const far = tunnelSettings(t, { quic: false, listen: here(port), backend: here(taken) });
  const running = await runTunnels([far], { log: SILENT, metrics: here(0) });
  t.teardown(() => running.close());
  const turned = { ...far, clientmode: true, listen: here(other), backend: here(port) };
  await t.rejects(running.reload([turned, { ...turned, tag: 'bad', listen: here(taken) }]), { code: 'LISTEN_FAILED' });
  await t.rejects(dial(t, other));
  (await dial(t, port)).destroy();
  await running.reload([turned]);
  await eventually('the server’s port to be closed', () =>
    dial(t, port).then(
      () => false,
      () => true,
    ),
  );
  (await dial(t, other)).destroy();
});

/** A client tunnel that a reload has taken out, with a connection of it that goes on. */
async function withoutItsClient(t: Test): Promise<{ running: RunningTunnels; application: Socket; clientPort: number }> {
  const [serverPort, clientPort] = [await freePort(), await freePort()];
  const far = tunnelSettings(t, { tag: 'far', quic: false, listen: here(serverPort), backend: here(await echoServer(t)) });
  const near = tunnelSettings(t, {
    tag: 'near',
    clientmode: true,
    quic: false,
    listen: here(clientPort),
    backend: here(serverPort),
  });
  const server = await runTunnels([far], { log: SILENT, metrics: null });
  t.teardown(() => server.close());
  const running = await runTunnels([near], { log: SILENT, metrics: null });
  t.teardown(() => running.close());
  const application = await dial(t, clientPort);
  t.ok(await echoes(application, 'before'));
  await running.reload([]);
  return { running, application, clientPort };
}
