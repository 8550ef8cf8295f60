import type { Socket } from 'node:net';
import { pino } from 'pino';
import { type Test, test } from 'tap';
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
