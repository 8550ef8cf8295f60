import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'tap';
import { withDeadline } from '../support/deadline.ts';
import { MODES } from '../support/qtunnel.ts';
import { acceptor, echoServer, ending, freePort, receive, receiveAll, receiveSummed, sendSummed } from '../support/tcp.ts';
import { client, open, pair, server } from './tunnel.ts';

const TRANSFER = 50 * 1024 * 1024;
/** More than the tunnel's and the kernel's buffers on the way can hold. */
const STALLED_TRANSFER = 64 * 1024 * 1024;
const HIGH_WATER_MARK = 65_536;
/** Bytes: what one read of a stream may bring (src/tunnel/read-buffer.ts). */
const LARGEST_READ = 256 * 1024;

for (const mode of MODES) {
  test(`${mode}: a pipeline through an echo gives back 50 MB as they were`, async (t) => {
    const { client: tunnel } = await pair(t, mode, await echoServer(t));
    const block = randomBytes(1024 * 1024);
    const sent = createHash('sha256');
    const received = createHash('sha256');
    const source = Readable.from(
      (function* () {
        for (let i = 0; i < TRANSFER / block.length; i++) {
          block.writeUInt32BE(i);
          sent.update(block);
          yield Buffer.from(block);
        }
      })(),
    );
    let bytes = 0;
    const sink = new Writable({
      write(chunk: Buffer, _, done) {
        received.update(chunk);
        bytes += chunk.length;
        done();
      },
    });
    await withDeadline(pipeline(source, await open(tunnel), sink), () => `50 MB, of which ${bytes} came`);
    t.equal(bytes, TRANSFER);
    t.equal(received.digest('hex'), sent.digest('hex'));
  });

  test(`${mode}: 50 MB up, then 50 MB down`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const duplex = await open(tunnel);
    const service = await accept();
    const [up, atService] = await Promise.all([sendSummed(duplex, TRANSFER), receiveSummed(service)]);
    t.same(atService, up);
    const [down, here] = await Promise.all([sendSummed(service, TRANSFER), receiveSummed(duplex)]);
    t.same(here, down);
  });

  test(`${mode}: each direction ends for itself`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const asking = await open(tunnel);
    asking.end('question');
    const service = await accept();
    t.equal((await receiveAll(service)).toString(), 'question');
    const answer = receiveAll(asking);
    const closed = once(asking, 'close');
    service.write('ans');
    service.end('wer');
    t.equal((await answer).toString(), 'answer');
    await withDeadline(closed, () => 'close');

    const listening = await open(tunnel);
    const speaker = await accept();
    speaker.end('hello');
    t.equal((await receiveAll(listening)).toString(), 'hello');
    listening.end('still here');
    t.equal((await receiveAll(speaker)).toString(), 'still here');
  });

  test(`${mode}: async iteration sees all chunks; leaving it resets the connection`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const duplex = await open(tunnel);
    const service = await accept();
    service.end('all of it');
    let text = '';
    for await (const chunk of duplex.iterator({ destroyOnReturn: false })) text += String(chunk);
    t.equal(text, 'all of it');
    duplex.end();

    const left = await open(tunnel);
    const other = await accept();
    other.write('x');
    for await (const chunk of left) {
      t.equal(String(chunk), 'x');
      break;
    }
    t.equal(await ending(other), 'reset');
  });

  test(`${mode}: destroy is a reset at the other end, a reset there an error here`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const destroyed = await open(tunnel);
    const service = await accept();
    destroyed.write('x');
    await receive(service, 1);
    const own = new Error('enough');
    const failure = once(destroyed, 'error');
    destroyed.destroy(own);
    t.equal(await ending(service), 'reset');
    t.same(await failure, [own]);

    const reset = await open(tunnel);
    const resetting = await accept();
    resetting.write('y');
    await receive(reset, 1);
    const error = once(reset, 'error');
    resetting.resetAndDestroy();
    t.match((await withDeadline(error, () => 'the reset'))[0], { name: 'QtunnelError', code: 'STREAM_RESET' });
    t.ok(reset.destroyed);
  });

  test(`${mode}: a backend that refuses is the stream's error`, async (t) => {
    const { client: tunnel } = await pair(t, mode, await freePort());
    const duplex = await open(tunnel);
    const written = new Promise((resolve) => duplex.write('into the void', resolve));
    const [error] = await withDeadline(once(duplex, 'error'), () => 'an error');
    t.match(error, { name: 'QtunnelError', code: 'DIAL_REFUSED', message: /nothing listens/ });
    await withDeadline(written, () => "the write's callback");
  });

  test(`${mode}: a reader that does not read stops its writer and nobody else, and holds little`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const [slow, slowService] = [await open(tunnel), await accept()];
    let finished = false;
    const slowSent = sendSummed(slowService, STALLED_TRANSFER).finally(() => (finished = true));
    slow.read(0);

    const [other, otherService] = [await open(tunnel), await accept()];
    const [sent, received] = await Promise.all([sendSummed(otherService, STALLED_TRANSFER), receiveSummed(other)]);
    t.same(received, sent);
    t.notOk(finished, 'the tunnel has not taken all that nobody reads');
    t.ok(slow.readableLength < HIGH_WATER_MARK + LARGEST_READ, `${slow.readableLength} bytes wait in the stream`);

    t.same(await receiveSummed(slow), await slowSent);
  });

  test(`${mode}: a writer is told to wait when the other end does not read`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const [duplex, service] = [await open(tunnel), await accept()];
    let finished = false;
    const sent = sendSummed(duplex, STALLED_TRANSFER).finally(() => (finished = true));
    const [other, otherService] = [await open(tunnel), await accept()];
    const [up, atService] = await Promise.all([sendSummed(other, STALLED_TRANSFER), receiveSummed(otherService)]);
    t.same(atService, up);
    t.notOk(finished, 'the writer waits');
    t.ok(duplex.writableNeedDrain);

    t.same(await receiveSummed(service), await sent);
  });

  test(`${mode}: destroying a stream that waits for room calls the write back and leaves nothing open`, async (t) => {
    const { port, accept } = await acceptor(t);
    const tunnelServer = await server(t, mode, port);
    const tunnel = await client(t, mode, tunnelServer);
    const [duplex, service] = [await open(tunnel), await accept()];
    const written = new Promise<unknown>((resolve) => duplex.write(Buffer.alloc(STALLED_TRANSFER), resolve));
    const ended = once(tunnelServer, 'connectionEnd');
    await once(service, 'readable');
    duplex.destroy();
    t.match(await withDeadline(written, () => "the write's callback"), { code: 'STREAM_RESET' });
    const [end] = (await withDeadline(ended, () => 'the end at the server')) as [{ reason: string }];
    t.equal(end.reason, 'RESET');
    t.equal(tunnel.connections, 0);
    t.equal(tunnelServer.connections, 0);
  });

  test(`${mode}: pausing and resuming in the middle loses nothing`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: tunnel } = await pair(t, mode, port);
    const [duplex, service] = [await open(tunnel), await accept()];
    const through = new PassThrough();
    duplex.on('data', (chunk: Buffer) => {
      duplex.pause();
      through.write(chunk, () => duplex.resume());
    });
    duplex.on('end', () => through.end());
    const [sent, received] = await Promise.all([sendSummed(service, TRANSFER / 10), receiveSummed(through)]);
    t.same(received, sent);
  });
}
