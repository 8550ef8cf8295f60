import { createHash, randomBytes } from 'node:crypto';
import type { Test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { END, type Link, NOTHING_YET, type OpenRequest } from '../../src/link/link.ts';
import { eventually } from '../support/deadline.ts';
import { type Accepted, LinkRecorder, StreamRecorder } from './recorder.ts';

export interface LinkPair {
  readonly client: Link;
  readonly server: Link;
  close(): Promise<void>;
}

/** Makes two ends of a link that is up. Options not given are the implementation's own choice (at least 256 streams). */
export type MakePair = (options?: {
  maxStreams?: number;
  buffer?: number;
  serverOpens?: boolean;
  datagrams?: boolean;
}) => Promise<LinkPair>;

/** What the tunnel may expect of any link (src/link/link.ts), whichever side opens the streams. */
export function linkContract(suite: Test, makePair: MakePair): void {
  for (const opens of ['client', 'server'] as const) {
    void suite.test(`whose ${opens} opens the streams`, (t) => {
      oneWayContract(t, opens, makePair);
      t.end();
    });
  }
  twoWayContract(suite, makePair);
}

/** What it may expect of the datagrams of streams, where these begin on the link's control connection. */
export function datagramContract(suite: Test, makePair: MakePair): void {
  const check = (name: string, run: (t: Test, up: Ends, down: Ends) => Promise<void>, options?: Parameters<MakePair>[0]): void => {
    void suite.test(name, async (t) => {
      const pair = await makePair({ serverOpens: true, datagrams: true, ...options });
      t.teardown(() => pair.close());
      const [client, server] = [new LinkRecorder(pair.client), new LinkRecorder(pair.server)];
      await run(t, new Ends(client, server), new Ends(server, client));
    });
  };

  check('datagrams of all sizes arrive whole, both ways, whoever opened the stream', async (t, ...both) => {
    for (const ends of both) {
      const here = ends.open();
      const { recorder: there } = await ends.taker.accept();
      for (const length of [1, 0, 1188, 1189, 1500, 9000, 65_507]) {
        for (const [from, to] of [
          [here, there],
          [there, here],
        ] as const)
          t.ok(await comes(ends, from, to, randomBytes(length)), `${length} bytes`);
      }
      here.stream.reset('RESET');
    }
  });

  check('datagrams belong to their stream, and do it no harm', async (t, ends) => {
    const streams = Array.from({ length: 20 }, () => ends.open());
    const there = new Map<number, StreamRecorder>();
    for (let n = 0; n < 20; n++) {
      const { recorder } = await ends.taker.accept();
      there.set(recorder.stream.id, recorder);
    }
    for (const here of streams) t.ok(await comes(ends, here, there.get(here.stream.id)!, Buffer.from(`for ${here.stream.id}`)));
    for (const { stream, datagrams } of there.values())
      t.ok(datagrams.every((datagram) => Buffer.from(datagram).toString() === `for ${stream.id}`));
    const [here] = streams;
    const bytes = randomBytes(100_000);
    const sent = sendAndEnd(here!, bytes);
    for (let n = 0; n < 50; n++) here!.stream.sendDatagram!(randomBytes(1000));
    const recorder = there.get(here!.stream.id)!;
    await Promise.all([sent, recorder.end()]);
    t.equal(sha256(recorder.bytes), sha256(bytes));
  });

  check('a datagram that is sent at once finds the stream that was just opened', async (t, ends) => {
    let found = 0;
    for (let n = 0; n < 10; n++) {
      const here = ends.open();
      here.stream.sendDatagram!(Buffer.from('the first'));
      const { recorder: there } = await ends.taker.accept();
      await ends.roundTrip();
      found += there.datagrams.length;
      here.stream.reset('RESET');
    }
    t.ok(found >= 8, `${found} of 10`);
  });

  check('more than there is room for is dropped and counted, and the link goes on', async (t, ends) => {
    const here = ends.open();
    const { recorder: there } = await ends.taker.accept();
    const chunk = randomBytes(60_000);
    let dropped = 0;
    for (let n = 0; n < 200; n++) if (!here.stream.sendDatagram!(chunk)) dropped++;
    t.ok(dropped > 100, `${dropped} of 200`);
    t.equal(ends.opener.link.stats().datagramsDropped, dropped);
    t.ok(await comes(ends, here, there, Buffer.from('still here')));
    t.ok(there.datagrams.filter(({ length }) => length === chunk.length).length <= 200 - dropped);
  });

  check('what is too large is dropped, and what is for a stream that has ended', async (t, ends) => {
    const here = ends.open();
    t.equal(here.stream.sendDatagram!(new Uint8Array(65_508)), false);
    const { recorder: there } = await ends.taker.accept();
    there.stream.sendDatagram!(Buffer.from('under way'));
    here.stream.reset('RESET');
    t.equal(here.stream.sendDatagram!(Buffer.from('x')), false);
    await there.reset();
    t.equal(there.stream.sendDatagram!(Buffer.from('x')), false);
    const { calls } = there;
    await ends.roundTrip();
    t.equal(there.calls, calls);
    t.equal(ends.opener.link.state, 'up');
  });

  check(
    'nothing is sent where none are wanted',
    async (t, ends) => {
      const here = ends.open();
      t.equal(here.stream.sendDatagram!(Buffer.from('x')), false);
      const { recorder: there } = await ends.taker.accept();
      await ends.roundTrip();
      t.equal(there.datagrams.length, 0);
    },
    { datagrams: false },
  );
}

/** Sends a datagram until it has come: once, where nothing is lost. */
async function comes(ends: Ends, from: StreamRecorder, to: StreamRecorder, datagram: Uint8Array): Promise<boolean> {
  for (let attempts = 20; attempts > 0; attempts--) {
    from.stream.sendDatagram!(datagram);
    await ends.roundTrip();
    if (to.datagrams.some((other) => Buffer.compare(other, datagram) === 0)) return true;
  }
  return false;
}

function oneWayContract(suite: Test, opens: 'client' | 'server', makePair: MakePair): void {
  const check = (name: string, run: (t: Test, ends: Ends) => Promise<void>, options?: Parameters<MakePair>[0]): void => {
    void suite.test(name, async (t) => {
      const pair = await makePair({ ...options, serverOpens: opens === 'server' });
      t.teardown(() => pair.close());
      const ends = [new LinkRecorder(pair.client), new LinkRecorder(pair.server)] as const;
      await run(t, opens === 'client' ? new Ends(...ends) : new Ends(ends[1], ends[0]));
    });
  };

  check('both sides know the link by the same id', async (t, { opener, taker }) => {
    t.match(opener.link.id, /^[0-9a-f]{16}$/);
    t.equal(taker.link.id, opener.link.id);
    t.equal(taker.link.transport, opener.link.transport);
    t.match(opener.link.peer, /^127\.0\.0\.1:\d+$/);
    t.match(taker.link.peer, /^127\.0\.0\.1:\d+$/);
    t.strictSame([opener.link.state, taker.link.state], ['up', 'up']);
  });

  check('tag and target arrive with the stream', async (t, { opener, taker }) => {
    opener.link.open({ tag: '0123456789abcdef', target: 'söme-backend' });
    opener.link.open({ tag: 'ffffffffffffffff', target: '' });
    const requests = [(await taker.accept()).request, (await taker.accept()).request];
    requests.sort((a, b) => (a.tag < b.tag ? -1 : 1));
    t.strictSame(requests, [
      { tag: '0123456789abcdef', target: 'söme-backend' },
      { tag: 'ffffffffffffffff', target: '' },
    ]);
  });

  check('bytes arrive in order both ways at once, whatever the reader’s sizes', async (t, ends) => {
    ends.taker.options = { readSizes: ODD_SIZES };
    const here = ends.open({ readSizes: ODD_SIZES });
    const up = randomBytes(3_000_001);
    const down = randomBytes(1_500_003);
    const { recorder: there } = await ends.taker.accept();
    await Promise.all([sendAndEnd(here, up), sendAndEnd(there, down), here.end(), there.end()]);
    t.equal(sha256(there.bytes), sha256(up));
    t.equal(sha256(here.bytes), sha256(down));
    await ends.noStreams();
  });

  check('what is written before the peer has seen the stream arrives', async (t, ends) => {
    const here = ends.open();
    t.equal(here.stream.write(Buffer.from('first')), 5);
    here.stream.end();
    const { recorder: there } = await ends.taker.accept();
    await there.end();
    t.equal(there.text, 'first');
  });

  check('the caller may reuse a chunk as soon as write returns', async (t, ends) => {
    const here = ends.open();
    const chunk = new Uint8Array(40_000);
    for (let round = 0; round < 5; round++) {
      chunk.fill(round);
      await here.write(chunk);
    }
    chunk.fill(99);
    here.stream.end();
    const { recorder: there } = await ends.taker.accept();
    await there.end();
    const expected = Buffer.concat(Array.from({ length: 5 }, (_, round) => Buffer.alloc(40_000, round)));
    t.equal(sha256(there.bytes), sha256(expected));
  });

  check('a reader that reads once per call is called again', async (t, ends) => {
    const here = ends.open();
    const bytes = randomBytes(1000);
    here.stream.write(bytes);
    here.stream.end();
    const { recorder } = await ends.taker.accept();
    const got: number[] = [];
    let ended: () => void;
    const end = new Promise<void>((resolve) => (ended = resolve));
    const alreadyRead = [...recorder.bytes];
    const one = new Uint8Array(1);
    recorder.stream.handler = {
      onReadable: () => {
        const n = recorder.stream.read(one);
        if (n === END) ended();
        else if (n > 0) got.push(one[0]!);
      },
      onWritable() {},
      onReset() {},
    };
    if (!recorder.ended) await end;
    t.strictSame([...alreadyRead, ...got], [...bytes]);
  });

  check('half-close: each direction ends by itself', async (t, ends) => {
    for (const openerFirst of [true, false]) {
      const here = ends.open();
      here.stream.write(Buffer.from('hello'));
      const { recorder: there } = await ends.taker.accept();
      const [first, second] = openerFirst ? [here, there] : [there, here];
      await first.write(Buffer.from(' and farewell'));
      first.stream.end();
      await second.end();
      t.match(second.text, /and farewell$/);
      t.notOk(first.ended, 'the other direction is open');
      const late = randomBytes(300_000);
      await second.write(late);
      t.notOk(first.ended);
      second.stream.end();
      await first.end();
      t.equal(sha256(first.bytes.subarray(-late.length)), sha256(late));
    }
    await ends.noStreams();
  });

  check('the end is read again and again', async (t, ends) => {
    const here = ends.open();
    here.stream.end();
    const { recorder: there } = await ends.taker.accept();
    await there.end();
    t.equal(there.stream.read(new Uint8Array(10)), END);
    t.equal(there.stream.read(new Uint8Array(10)), END);
  });

  check('nothing there reads as NOTHING_YET, and nothing written is nothing', async (t, ends) => {
    const here = ends.open();
    t.equal(here.stream.read(new Uint8Array(10)), NOTHING_YET);
    t.equal(here.stream.write(new Uint8Array(0)), 0);
    const { recorder: there } = await ends.taker.accept();
    t.equal(there.stream.write(new Uint8Array(0)), 0);
    there.stream.write(Buffer.from('x'));
    there.stream.end();
    await here.end();
    t.equal(here.text, 'x');
  });

  check('a reset arrives with reason and message, either way', async (t, ends) => {
    for (const openerResets of [true, false]) {
      const here = ends.open();
      const { recorder: there } = await ends.taker.accept();
      const [from, to] = openerResets ? [here, there] : [there, here];
      from.stream.reset('DIAL_REFUSED', 'nobody home');
      t.strictSame(await to.reset(), { reason: 'DIAL_REFUSED', message: 'nobody home' });
      t.notOk(to.ended, 'a reset is no end');
    }
    await ends.noStreams();
  });

  check('a reset after one direction has ended is a reset', async (t, ends) => {
    const here = ends.open();
    here.stream.end();
    const { recorder: there } = await ends.taker.accept();
    await there.end();
    there.stream.reset('RESET', 'after all');
    t.equal((await here.reset()).reason, 'RESET');
    await ends.noStreams();
  });

  check('a reset with unread bytes arrives', async (t, ends) => {
    ends.taker.options = { holding: true };
    const here = ends.open();
    await here.write(randomBytes(30_000));
    const { recorder: there } = await ends.taker.accept();
    await there.until('something to read', () => there.calls > 0);
    here.stream.reset('LIMIT', '');
    t.equal((await there.reset()).reason, 'LIMIT');
    t.equal(there.stream.read(new Uint8Array(10)), NOTHING_YET, 'and they are gone, without an end');
  });

  check('a stream that was reset does nothing any more', async (t, ends) => {
    const here = ends.open();
    const { recorder: there } = await ends.taker.accept();
    await there.write(randomBytes(100_000));
    here.stream.reset('RESET');
    const { calls } = here;
    await there.reset();
    const callsThere = there.calls;
    for (const stream of [here.stream, there.stream]) {
      t.equal(stream.write(Buffer.from('x')), 0);
      t.equal(stream.read(new Uint8Array(10)), NOTHING_YET);
      stream.end();
      stream.reset('RESET', 'once more');
    }
    await ends.roundTrip();
    t.equal(here.calls, calls, 'the handler of the side that reset it is not called');
    t.equal(there.calls, callsThere, 'nothing is called after onReset');
    t.equal(there.resets.length, 1);
  });

  check('200 streams at once keep their bytes apart', async (t, ends) => {
    ends.taker.options = { readSizes: [1000] };
    const streams = Array.from({ length: 200 }, () => ends.open());
    t.equal(new Set(streams.map(({ stream }) => stream.id)).size, 200, 'ids are unique');
    t.equal(ends.opener.link.streams, 200);
    const serve = async (): Promise<void> => echo(await ends.taker.accept());
    const [same] = await Promise.all([Promise.all(streams.map(comesBack)), Promise.all(streams.map(serve))]);
    t.ok(same.every(Boolean));
    t.equal(new Set(ends.taker.accepted.map(({ recorder }) => recorder.stream.id)).size, 200);
    await ends.noStreams();
  });

  check(
    'a reader that does not read holds its writer back, and nobody else',
    async (t, ends) => {
      ends.taker.options = { holding: true };
      const here = ends.open();
      const { recorder: there } = await ends.taker.accept();
      const written = await writeUntilStuck(ends, here);
      t.ok(written < 32 * MIB, `${written} bytes were taken`);
      ends.taker.options = {};
      await ends.roundTrip();
      t.equal(there.received, 0);
      there.release();
      here.stream.end();
      await there.end();
      t.equal(there.received, written);
    },
    { buffer: MIB },
  );

  check(
    'more streams than the peer allows are refused, and fewer again are not',
    async (t, ends) => {
      const streams = Array.from({ length: 4 }, () => ends.open());
      for (let n = 0; n < 4; n++) await ends.taker.accept();
      t.throws(() => ends.opener.link.open(REQUEST), { code: 'STREAM_LIMIT' });
      streams[0]!.stream.reset('RESET');
      await eventually('room for a stream', () => ends.opener.link.streams < 4 && ends.taker.link.streams < 4);
      await ends.roundTrip();
    },
    { maxStreams: 4 },
  );

  check('a link that drains opens no more, lets streams go on, and closes after the last', async (t, ends) => {
    for (const end of [ends.opener, ends.taker]) t.equal(end.link.state, 'up');
    const here = ends.open();
    const { recorder: there } = await ends.taker.accept();
    ends.opener.link.drain();
    t.equal(ends.opener.link.state, 'draining');
    t.throws(() => ends.opener.link.open(REQUEST), { code: 'LINK_CLOSED' });
    await ends.taker.until('the other side to know', () => ends.taker.states.includes('draining'));
    t.throws(() => ends.taker.link.open(REQUEST), { code: 'LINK_CLOSED' });
    const bytes = randomBytes(200_000);
    await Promise.all([sendAndEnd(here, bytes), sendAndEnd(there, bytes), here.end(), there.end()]);
    t.equal(sha256(there.bytes), sha256(bytes));
    t.equal((await ends.opener.closed()).code, 'LINK_CLOSED');
    t.equal((await ends.taker.closed()).code, 'LINK_CLOSED');
    t.strictSame(ends.opener.states, ['draining', 'closed']);
    t.strictSame(ends.taker.states, ['draining', 'closed']);
  });

  check('the side that takes them drains as well', async (t, ends) => {
    const here = ends.open();
    const { recorder: there } = await ends.taker.accept();
    ends.taker.link.drain();
    await ends.opener.until('the opener to know', () => ends.opener.link.state === 'draining');
    t.throws(() => ends.opener.link.open(REQUEST), { code: 'LINK_CLOSED' });
    await Promise.all([sendAndEnd(here, randomBytes(10)), sendAndEnd(there, randomBytes(10)), here.end(), there.end()]);
    await Promise.all([ends.opener.closed(), ends.taker.closed()]);
    t.strictSame([ends.opener.link.state, ends.taker.link.state], ['closed', 'closed']);
  });

  check('a stream that was opened before that side heard that the other drains is carried', async (t, ends) => {
    ends.taker.link.drain();
    const here = ends.open();
    const { recorder: there } = await ends.taker.accept();
    await ends.opener.until('the opener to know', () => ends.opener.link.state === 'draining');
    const bytes = randomBytes(200_000);
    await Promise.all([sendAndEnd(here, bytes), sendAndEnd(there, bytes), here.end(), there.end()]);
    t.equal(sha256(there.bytes), sha256(bytes));
    t.equal(sha256(here.bytes), sha256(bytes));
    await Promise.all([ends.opener.closed(), ends.taker.closed()]);
  });

  check('a link without streams that drains closes', async (t, ends) => {
    ends.opener.link.drain();
    await Promise.all([ends.opener.closed(), ends.taker.closed()]);
    t.strictSame([ends.opener.closes.length, ends.taker.closes.length], [1, 1]);
  });

  for (const who of ['opener', 'taker'] as const) {
    check(`close at the ${who} resets the streams of both sides`, async (t, ends) => {
      const here = [ends.open(), ends.open()];
      const there = [(await ends.taker.accept()).recorder, (await ends.taker.accept()).recorder];
      const reason = new QtunnelError('LINK_CLOSED', 'enough');
      ends[who].link.close(reason);
      for (const recorder of [...here, ...there]) t.equal((await recorder.reset()).reason, 'LINK_LOST');
      t.equal(await ends[who].closed(), reason);
      await Promise.all([ends.opener.closed(), ends.taker.closed()]);
      for (const { link, closes, states } of [ends.opener, ends.taker]) {
        link.close(new QtunnelError('LINK_CLOSED', 'again'));
        t.equal(link.state, 'closed');
        t.equal(link.streams, 0);
        t.equal(closes.length, 1, 'onClose is called once');
        t.equal(states.at(-1), 'closed');
        t.throws(() => link.open(REQUEST), { code: 'LINK_CLOSED' });
      }
      for (const { resets, calls, stream } of [...here, ...there]) {
        t.equal(resets.length, 1);
        t.ok(calls >= 1);
        t.equal(stream.write(Buffer.from('x')), 0);
      }
    });
  }

  check('a link that shuts down says so to its streams', async (t, ends) => {
    const here = ends.open();
    const { recorder: there } = await ends.taker.accept();
    ends.taker.link.close(new QtunnelError('SHUTTING_DOWN', 'The server is shutting down.'));
    t.equal((await there.reset()).reason, 'SHUTDOWN');
    t.equal((await here.reset()).reason, 'SHUTDOWN');
  });

  check('the figures make sense', async (t, ends) => {
    await ends.roundTrip();
    await ends.roundTrip();
    await eventually('a round-trip time', () => ends.opener.link.stats().rtt > 0);
    const before = ends.opener.link.stats();
    const here = ends.open();
    await here.write(randomBytes(100_000));
    here.stream.end();
    const { recorder: there } = await ends.taker.accept();
    there.stream.end();
    await Promise.all([there.end(), here.end()]);
    await ends.noStreams();
    const { bytesSent, rtt } = ends.opener.link.stats();
    t.ok(bytesSent - before.bytesSent >= 100_000, `${bytesSent - before.bytesSent} bytes`);
    t.ok(ends.taker.link.stats().bytesReceived >= 100_000);
    t.ok(rtt > 0 && rtt < 30_000);
  });
}

/** What holds besides when both may open them, or only the client. */
function twoWayContract(suite: Test, makePair: MakePair): void {
  void suite.test('both sides open streams at once, each as many as the other allows', async (t) => {
    const pair = await makePair({ serverOpens: true, maxStreams: 4 });
    t.teardown(() => pair.close());
    const [client, server] = [new LinkRecorder(pair.client), new LinkRecorder(pair.server)];
    const [up, down] = [new Ends(client, server), new Ends(server, client)];
    for (let round = 0; round < 3; round++) {
      const streams = [up, down].map((ends) => Array.from({ length: 4 }, () => ends.open()));
      t.equal(new Set(streams.flat().map(({ stream }) => stream.id)).size, 8, 'ids are unique');
      for (const ends of [up, down]) t.throws(() => ends.opener.link.open(REQUEST), { code: 'STREAM_LIMIT' });
      const served = [up, down].flatMap((ends) => Array.from({ length: 4 }, async () => echo(await ends.taker.accept())));
      const [same] = await Promise.all([Promise.all(streams.flat().map(comesBack)), Promise.all(served)]);
      t.ok(same.every(Boolean));
      await up.noStreams();
    }
  });

  void suite.test('a server opens no streams where they are not wanted', async (t) => {
    const pair = await makePair({ serverOpens: false });
    t.teardown(() => pair.close());
    const ends = new Ends(new LinkRecorder(pair.client), new LinkRecorder(pair.server));
    t.throws(() => pair.server.open(REQUEST), { code: 'STREAM_LIMIT', message: /client takes no streams/ });
    await ends.roundTrip();
    t.strictSame([pair.client.state, pair.server.state], ['up', 'up']);
  });
}

/** Both ends of a link with what is written down about them. */
class Ends {
  readonly opener: LinkRecorder;
  readonly taker: LinkRecorder;

  constructor(opener: LinkRecorder, taker: LinkRecorder) {
    this.opener = opener;
    this.taker = taker;
  }

  open(options: ConstructorParameters<typeof StreamRecorder>[1] = {}): StreamRecorder {
    return new StreamRecorder(this.opener.link.open(REQUEST), options);
  }

  /** A stream there and back: whatever was sent before it has most likely arrived. */
  async roundTrip(): Promise<void> {
    const here = this.open();
    const served = this.taker.accept().then(echo);
    await sendAndEnd(here, randomBytes(1000));
    await Promise.all([here.end(), served]);
  }

  async noStreams(): Promise<void> {
    await eventually('all streams to end', () => this.opener.link.streams === 0 && this.taker.link.streams === 0);
  }
}

async function echo({ recorder }: Accepted): Promise<void> {
  await recorder.end();
  await sendAndEnd(recorder, recorder.bytes);
}

/** Sends bytes of its own in small pieces and says whether the same came back. */
async function comesBack(here: StreamRecorder): Promise<boolean> {
  const bytes = randomBytes(20_000 + (here.stream.id % 7) * 1000);
  for (let at = 0; at < bytes.length; at += 3000) await here.write(bytes.subarray(at, at + 3000));
  here.stream.end();
  await here.end();
  return sha256(here.bytes) === sha256(bytes);
}

async function sendAndEnd(recorder: StreamRecorder, bytes: Uint8Array): Promise<void> {
  await recorder.write(bytes);
  recorder.stream.end();
}

/** Writes until round trips on other streams go by without any room. */
async function writeUntilStuck(ends: Ends, here: StreamRecorder): Promise<number> {
  const chunk = new Uint8Array(65_536);
  let written = 0;
  const { options } = ends.taker;
  for (let idle = 0; idle < 3 && written < 32 * MIB;) {
    const taken = here.stream.write(chunk);
    written += taken;
    if (taken === chunk.length) continue;
    const before = here.calls;
    ends.taker.options = {};
    await ends.roundTrip();
    ends.taker.options = options;
    idle = here.calls === before ? idle + 1 : 0;
  }
  return written;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const REQUEST: OpenRequest = { tag: '00112233445566ff', target: '' };
const ODD_SIZES = [1, 7, 4096, 333, 65_537, 100_003, 2];
const MIB = 1024 * 1024;
