import { test } from 'tap';
import type { QtunnelError } from '../../src/errors.ts';
import { dial, type Dial, dialResetReason } from '../../src/tunnel/dial.ts';
import { DEADLINE_MS, eventually, withDeadline } from '../support/deadline.ts';
import { acceptor, echoServer, freePort } from '../support/tcp.ts';
import { fullPort } from './full-port.ts';

const HERE = '127.0.0.1';

async function outcome(host: string, port: number, timeout = DEADLINE_MS): Promise<{ error: QtunnelError | null; it: Dial }> {
  let it!: Dial;
  const done = new Promise<QtunnelError | null>((resolve) => (it = dial({ host, port }, timeout, resolve)));
  return { error: await withDeadline(done, () => 'the outcome of a dial'), it };
}

void test('a backend that listens', async (t) => {
  const port = await echoServer(t);
  const { error, it } = await outcome(HERE, port);
  t.teardown(() => it.socket.destroy());
  t.equal(error, null);
  it.socket.write('hello');
  t.ok(it.socket.writable);
});

void test('nobody listens', async (t) => {
  const { error, it } = await outcome(HERE, await freePort());
  t.match(error, { code: 'DIAL_REFUSED', message: /127\.0\.0\.1:\d+ refused/ });
  t.ok(it.socket.destroyed);
  t.equal(dialResetReason(error!.code), 'DIAL_REFUSED');
});

void test('a name that does not exist', async (t) => {
  const { error, it } = await outcome('no-such-host.invalid', 80);
  t.equal(error!.code, 'DIAL_NAME_NOT_FOUND');
  t.ok(it.socket.destroyed);
  t.equal(dialResetReason(error!.code), 'DIAL_NAME_NOT_FOUND');
});

void test('a network that cannot be reached', async (t) => {
  // Multicast is no place for TCP, with or without a network.
  const { error, it } = await outcome('224.0.0.1', 80);
  t.equal(error!.code, 'DIAL_UNREACHABLE');
  t.ok(it.socket.destroyed);
});

void test('a backend that does not answer', async (t) => {
  const port = await fullPort(t);
  const { error, it } = await outcome(HERE, port, 100);
  t.match(error, { code: 'DIAL_TIMEOUT', message: /100 ms/ });
  t.ok(it.socket.destroyed);
});

void test('who gives up hears nothing more, before the connection and after it', async (t) => {
  const calls: unknown[] = [];
  const waiting = dial({ host: HERE, port: await fullPort(t) }, DEADLINE_MS, (error) => calls.push(error));
  waiting.cancel();
  t.ok(waiting.socket.destroyed);
  const naming = dial({ host: 'no-such-host.invalid', port: 1 }, DEADLINE_MS, (error) => calls.push(error));
  naming.cancel();
  const refused = dial({ host: HERE, port: await freePort() }, DEADLINE_MS, (error) => calls.push(error));
  refused.cancel();
  const { port, accepted } = await acceptor(t);
  const { it } = await outcome(HERE, port);
  it.cancel();
  await eventually('all sockets to be closed', () => [waiting, naming, refused, it].every(({ socket }) => socket.closed));
  await eventually('the backend to have seen it', () => accepted() === 1);
  t.strictSame(calls, []);
});
