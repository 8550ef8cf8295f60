import { once } from 'node:events';
import net from 'node:net';
import { type Test, test } from 'tap';
import { type Backend, startBackend } from '../../src/measure/backend.ts';
import { decodeReport, type Hello, NONCE_LENGTH, parseHello, proofOf, REPORT_LENGTH, requestLine } from '../../src/measure/wire.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { dial, ending, receive, receiveAll, receiveSummed, sendSummed } from '../support/tcp.ts';

async function backend(t: Test, direct = false): Promise<Backend> {
  const started = await startBackend(direct ? { host: '127.0.0.1', port: 0 } : null);
  t.teardown(() => started.close());
  return started;
}

async function sayHello(t: Test, port: number): Promise<{ hello: Hello; socket: net.Socket }> {
  const socket = await dial(t, port);
  socket.write(requestLine('hello'));
  const [line] = (await withDeadline(once(socket, 'data'), () => 'the hello')) as [Buffer];
  return { hello: parseHello(line.toString().trimEnd())!, socket };
}

test('a sink reports at once, and then how much has arrived', async (t) => {
  const { port } = await backend(t);
  const socket = await dial(t, port);
  socket.write(requestLine('sink'));
  const first = decodeReport(await receive(socket, REPORT_LENGTH));
  t.equal(first.bytes, 0);
  socket.write(Buffer.alloc(300_000));
  const last = await eventually('a report of all bytes', async () => {
    const report = decodeReport(await receive(socket, REPORT_LENGTH));
    return report.bytes === 300_000 ? report : undefined;
  });
  t.ok(last!.time > first.time);
  socket.end();
  t.equal(await ending(socket), 'fin');
});

test('bytes that come with the request are counted, and a request may come in pieces', async (t) => {
  const { port } = await backend(t);
  const socket = await dial(t, port);
  const line = requestLine('sink');
  socket.write(line.slice(0, 5));
  await new Promise((resolve) => setImmediate(resolve));
  socket.write(`${line.slice(5)}12345`);
  const counted = await eventually('a report of bytes', async () => {
    const { bytes } = decodeReport(await receive(socket, REPORT_LENGTH));
    return bytes > 0 && bytes;
  });
  t.equal(counted, 5);
});

test('an echo gives everything back, and its end after the last byte', async (t) => {
  const { port } = await backend(t);
  const socket = await dial(t, port);
  socket.write(requestLine('echo'));
  const [received, sent] = await Promise.all([receiveSummed(socket), sendSummed(socket, 20_000_000)]);
  t.same(received, sent);
});

test('a source sends until the near end closes', async (t) => {
  const { port } = await backend(t);
  const socket = await dial(t, port);
  socket.write(requestLine('source'));
  t.equal((await receive(socket, 1_000_000)).length, 1_000_000);
  socket.end();
  t.equal(await ending(socket), 'fin');
});

for (const request of ['GET / HTTP/1.1\r\n\r\n', 'qtunnel-bench 2 echo\n', 'qtunnel-bench 1 steal\n', 'x'.repeat(1000)]) {
  test(`who says ${JSON.stringify(request.slice(0, 30))} is cut off without an answer`, async (t) => {
    const { port } = await backend(t);
    const socket = await dial(t, port);
    socket.write(request);
    t.same(await receiveAll(socket).catch(() => Buffer.alloc(0)), Buffer.alloc(0));
  });
}

test('it listens on this machine alone', { skip: process.platform !== 'linux' && 'needs 127.0.0.0/8' }, async (t) => {
  const { port, directPort } = await backend(t);
  t.equal(directPort, null);
  // Were it on all addresses, it would be on this one.
  await t.rejects(dial(t, port, '127.0.0.2'), { code: 'ECONNREFUSED' });
});

test('the direct port is for who knows a key from a hello that is still open', async (t) => {
  const { port, directPort } = await backend(t, true);
  const { hello, socket } = await sayHello(t, port);
  t.equal(hello.direct?.port, directPort);
  const { key } = hello.direct!;

  const knock = async (prove: (nonce: Uint8Array) => Uint8Array): Promise<boolean> => {
    const stranger = await dial(t, directPort!);
    const proof = prove(await receive(stranger, NONCE_LENGTH));
    stranger.write(Buffer.concat([proof, Buffer.from(requestLine('echo')), Buffer.from('hello')]));
    stranger.end();
    return (await receiveAll(stranger).catch(() => Buffer.alloc(0))).toString() === 'hello';
  };

  t.equal(await knock((nonce) => proofOf(key, nonce)), true, 'the key');
  t.equal(await knock((nonce) => proofOf('00'.repeat(32), nonce)), false, 'another key');
  let seen: Uint8Array = Buffer.alloc(0);
  await knock((nonce) => (seen = proofOf(key, nonce)));
  t.equal(await knock(() => seen), false, 'a proof that was used already');
  t.equal(await knock(() => Buffer.from(key, 'hex')), false, 'the key itself');

  socket.destroy();
  await eventually('the key to be worth nothing', async () => !(await knock((nonce) => proofOf(key, nonce))));
});

test('a direct port that is taken is a sentence', async (t) => {
  const { directPort } = await backend(t, true);
  await t.rejects(startBackend({ host: '127.0.0.1', port: directPort! }), {
    code: 'LISTEN_FAILED',
    message: `Cannot listen on TCP 127.0.0.1:${directPort} (EADDRINUSE); choose another -direct.`,
  });
});
