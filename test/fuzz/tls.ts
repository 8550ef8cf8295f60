import { QtunnelError } from '../../src/errors.ts';
import { END, type LinkStream, NOTHING_YET } from '../../src/link/link.ts';
import { ClientHandshake } from '../../src/protocol/handshake.ts';
import { FRAME, frame } from '../../src/protocol/frames.ts';
import {
  DEFAULT_SETTINGS,
  encodeAttach,
  encodeCredit,
  encodeFin,
  encodeGoAway,
  encodeOpen,
  encodePing,
  encodeReset,
  SMALL_HEADER,
  writeSmall,
} from '../../src/protocol/messages.ts';
import { TlsConnection } from '../../src/tls/connection.ts';
import { handshakeContext } from '../../src/tls/context.ts';
import { ServerGreeting } from '../../src/tls/greeting.ts';
import { TlsLink } from '../../src/tls/link.ts';
import { WarmPool } from '../../src/tls/pool.ts';
import type { TlsStream } from '../../src/tls/stream.ts';
import { linkOptions } from '../tls/pair.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { mutate, oneOf } from './mutations.ts';
import { FakeTls, Listener, pattern } from './fake-tls.ts';

export interface TlsFuzz {
  readonly frames: number;
  readonly links: number;
  /** Links and streams that ended in a violation; first frames that were refused; bytes that streams took. */
  readonly violations: number;
  readonly refusals: number;
  readonly bytes: number;
}

/**
 * Frames of a peer that means ill into the TLS driver, on connections without TLS: first ones that are no right HELLO, then those of a proven peer, mostly in an order that makes sense, on the control
 * connection and on others, with ATTACH at right and wrong offsets, some changed, at the wrong time or about the wrong stream. Meanwhile streams are read, written, ended and reset, and the peer takes what
 * it is sent, or does not. Whatever comes: a violation ends the connection that it came on; each stream is told once; what is carried is what was sent; what waits is bounded; nothing is kept.
 * @throws Error with the seed of the link that did otherwise.
 */
export async function fuzzTls(frames: number, seed: number): Promise<TlsFuzz> {
  const sum = { frames: 0, links: 0, violations: 0, refusals: 0, bytes: 0 };
  for (; sum.frames < frames; sum.links++) {
    const one = new Case(seed + sum.links);
    const tell = (error: Error): string => `seed ${seed + sum.links}: ${error.message}\n${one.history.join('\n')}`;
    // What is thrown in a turn of the event loop ends the process, as it would anywhere.
    const sayLast = (error: Error): void => console.error(tell(error));
    process.once('uncaughtExceptionMonitor', sayLast);
    try {
      await one.run();
    } catch (error) {
      throw new Error(tell(error as Error), { cause: error });
    } finally {
      process.off('uncaughtExceptionMonitor', sayLast);
    }
    sum.frames += one.history.length;
    sum.bytes += one.bytes;
    sum.violations += one.violations;
    sum.refusals += one.refusals;
  }
  return sum;
}

/** What the peer knows of a stream. */
interface Lane {
  /** OPEN was sent. */
  isOpen: boolean;
  sent: number;
  /** It has ended its direction, or goes on elsewhere. */
  past: boolean;
  /** Its own connection has been told. */
  attached: boolean;
  isOver: boolean;
}

/** A further connection, from the peer's side. */
interface Way {
  readonly tls: FakeTls;
  /** The stream that it has, if any; 0 for one that began here. */
  lane: number | null;
  /** Bytes of that stream that the peer has sent, here and before. */
  sent: number;
  past: boolean;
}

interface Known {
  /** It has been read to its end, or was reset here. */
  ended: boolean;
  wasCut: boolean;
  resets: number;
  read: number;
  written: number;
}

/** One link and what is done to it. */
class Case {
  readonly history: string[] = [];
  bytes = 0;
  violations = 0;
  refusals = 0;
  readonly #random: () => number;
  readonly #isClient: boolean;
  readonly #careless: number;
  readonly #usesLanes: boolean;
  /** Both sides open streams. */
  readonly #serverOpens: boolean;
  readonly #all: FakeTls[] = [];
  readonly #ways: Way[] = [];
  readonly #lanes = new Map<number, Lane>();
  readonly #streams = new Map<LinkStream, Known>();
  #control!: FakeTls;
  #link!: TlsLink;
  /** What is to come on the control connection next. */
  readonly #late: Uint8Array[] = [];
  #nextLane: number;
  #closed: QtunnelError | null = null;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#isClient = this.#random() < 0.4;
    this.#usesLanes = this.#random() < 0.8;
    this.#serverOpens = this.#usesLanes && this.#random() < 0.4;
    this.#nextLane = this.#serverOpens && !this.#isClient ? 2 : 1;
    this.#careless = oneOf(this.#random, [0, 0, 0.01, 0.05, 0.3]);
  }

  async run(): Promise<void> {
    while (this.#control === undefined) await this.#begin();
    for (let n = integerBetween(this.#random, 1, 150); n > 0 && this.#closed === null; n--) await this.#step();
    const reason = this.#closed;
    if (reason?.code === 'PROTOCOL_VIOLATION') this.violations++;
    if (reason !== null && !ENDS.has(reason.code)) throw new Error(`the link ended with ${reason.code}: ${reason.message}`);
    this.#link.close(new QtunnelError('LINK_CLOSED', 'The test is over.'));
    for (const tls of this.#all) tls.takes = true;
    for (let turns = 0; turns < 4; turns++) await turn();
    this.#judge();
  }

  #judge(): void {
    for (const [stream, { ended, resets }] of this.#streams)
      if (!ended && resets !== 1) throw new Error(`stream ${stream.id} was reset ${resets} times`);
    if (this.#link.streams !== 0) throw new Error(`${this.#link.streams} streams are left`);
    if (this.#link.connections !== 0) throw new Error(`${this.#link.connections} connections are left`);
    const open = this.#all.filter(({ destroyed }) => !destroyed);
    if (open.length > 0) throw new Error(`${open.length} sockets are left`);
  }

  async #begin(): Promise<void> {
    const tls = this.#socket();
    const connection = new TlsConnection(tls.socket, 'peer', 10_000);
    if (this.#isClient) return this.#startLink(connection, tls);
    await this.#greet(connection, tls, this.#random() < 0.3, () => this.#startLink(connection, tls));
  }

  /** What a server makes of the first frames of a connection. */
  async #greet(connection: TlsConnection, tls: FakeTls, meansIll: boolean, admit: () => void): Promise<void> {
    const random = this.#random;
    const options = linkOptions({ lane: this.#usesLanes });
    let [admitted, failures] = [false, 0];
    connection.handler = new ServerGreeting(
      connection,
      options,
      { server: CERTIFICATE, client: [] },
      {
        admit: () => () => {
          admitted = true;
          admit();
        },
        onFailure: () => void failures++,
      },
    );
    const context = handshakeContext(options, CERTIFICATE, randomBytes(random, 16));
    const { hello } = new ClientHandshake(context, '0011223344556677');
    const first = meansIll
      ? oneOf(random, [mutate(random, hello, 5_000), oneOf(random, NO_HELLO), randomBytes(random, 40)])
      : hello;
    this.#send(tls, first);
    await turn();
    if (admitted) return;
    // What does not make a frame yet may wait for more, until its time is over.
    if (failures === 0) connection.fail(new QtunnelError('LINK_TIMEOUT', 'The handshake took too long.'));
    await turn();
    if (failures !== 1) throw new Error(`a greeting failed ${failures} times`);
    if (!tls.destroyed) throw new Error('a connection that was refused is still there');
    this.refusals++;
  }

  #startLink(connection: TlsConnection, tls: FakeTls): void {
    this.#control = tls;
    const [reuse, lane] = [this.#random() < 0.8 ? 1 : 0, this.#usesLanes ? 1 : 0];
    const settings = { ...DEFAULT_SETTINGS, maxStreams: 20, reuse, lane, serverOpens: this.#serverOpens ? 1 : 0 };
    const makeSource = (link: TlsLink): WarmPool =>
      new WarmPool(async (_signal, takeOver) => {
        if (this.#random() < 0.1) throw new QtunnelError('LINK_LOST', 'There is no way.');
        const way = this.#socket();
        const further = new TlsConnection(way.socket, 'peer', 10_000);
        link.adopt(further);
        this.#ways.push({ tls: way, lane: null, sent: 0, past: false });
        await turn();
        if (!way.destroyed) takeOver(further);
      });
    this.#link = new TlsLink(connection, linkOptions({ maxStreams: 20, buffer: 262_144, serverOpens: this.#serverOpens }), {
      id: '00',
      peer: settings,
      rtt: 1,
      makeSource: this.#isClient ? makeSource : null,
    });
    this.#link.handler = {
      onStream: (stream) => this.#take(stream as TlsStream),
      onStateChange() {},
      onClose: (reason) => {
        if (this.#closed !== null) throw new Error('the link has ended twice');
        this.#closed = reason;
      },
    };
  }

  async #step(): Promise<void> {
    const random = this.#random;
    if (!this.#isClient && random() < 0.2) await this.#join();
    for (let n = random() < 0.7 ? integerBetween(random, 1, 4) : 0; n > 0; n--) this.#say();
    if (random() < 0.5) this.#act();
    if (random() < 0.05) this.#control.takes = !this.#control.takes;
    if (random() < 0.05 && this.#ways.length > 0) {
      const { tls } = oneOf(random, this.#ways);
      tls.takes = !tls.takes;
    }
    await turn();
    for (const tls of this.#all)
      if (tls.writableLength > MOST_WAITING) throw new Error(`${tls.writableLength} bytes wait on one connection`);
  }

  async #join(): Promise<void> {
    if (!this.#link.hasRoom || this.#link.state === 'closed') return;
    const tls = this.#socket();
    const connection = new TlsConnection(tls.socket, 'peer', 10_000);
    await this.#greet(connection, tls, this.#random() < 0.1, () => {
      this.#link.join(connection);
      this.#ways.push({ tls, lane: null, sent: 0, past: false });
    });
  }

  /** The peer says something, on the control connection or on another. */
  #say(): void {
    const random = this.#random;
    const isCareless = random() < this.#careless;
    if (random() < 0.1) for (const bytes of this.#late.splice(0)) this.#send(this.#control, bytes);
    const ways = this.#ways.filter(({ tls }) => !tls.destroyed);
    if (ways.length > 0 && random() < 0.5) {
      const way = oneOf(random, ways);
      const bytes = isCareless ? this.#wrongFrame(way) : this.#frameOn(way);
      if (bytes !== null) this.#send(way.tls, bytes);
    } else {
      const bytes = this.#controlFrame();
      this.#send(this.#control, isCareless ? mutate(random, bytes, 5_000) : bytes);
    }
    if (random() < 0.005) oneOf(random, this.#all).peerEnds();
  }

  /** In pieces, as TCP has it. */
  #send(tls: FakeTls, bytes: Uint8Array): void {
    this.history.push(`${this.#all.indexOf(tls)}: ${Buffer.from(bytes.subarray(0, 40)).toString('hex')}`);
    for (let at = 0; at < bytes.length;) {
      const end = this.#random() < 0.8 ? bytes.length : integerBetween(this.#random, at + 1, bytes.length);
      tls.receive(bytes.slice(at, end));
      at = end;
    }
  }

  #controlFrame(): Uint8Array {
    const random = this.#random;
    const [id, lane] = this.#someLane();
    switch (integerBetween(random, 0, 9)) {
      case 0:
      case 1:
        if (this.#isClient ? !this.#serverOpens : !this.#usesLanes) return encodePing(FRAME.PING, new Uint8Array(8));
        return this.#opening();
      case 2:
      case 3:
      case 4:
        if (lane === undefined) return encodePing(FRAME.PONG, new Uint8Array(8));
        if (lane.past) return encodeCredit(id, 100_000);
        return small(id, lane, integerBetween(random, 1, random() < 0.8 ? 100 : 4_000));
      case 5:
        return lane === undefined
          ? encodePing(FRAME.PONG, new Uint8Array(8))
          : encodeCredit(id, integerBetween(random, 0, 10_000_000));
      case 6:
        if (lane === undefined || lane.past) return encodePing(FRAME.PONG, new Uint8Array(8));
        lane.past = true;
        return encodeFin(id);
      case 7:
        if (lane === undefined || random() < 0.7) return encodePing(FRAME.PING, new Uint8Array(8));
        lane.past = true;
        lane.isOver = true;
        return encodeReset(id, 'RESET', 'no more');
      default:
        return random() < 0.01 ? encodeGoAway('bye') : encodePing(oneOf(random, [FRAME.PING, FRAME.PONG]), new Uint8Array(8));
    }
  }

  /** Of the peer's next stream, which may be attached already. */
  #opening(): Uint8Array {
    const id = this.#nextLane;
    this.#nextLane += this.#serverOpens ? 2 : 1;
    const lane = this.#lanes.get(id) ?? newLane(true);
    lane.isOpen = true;
    this.#lanes.set(id, lane);
    return encodeOpen(id, TAG, this.#random() < 0.1 ? 'target' : '');
  }

  /** One that may come next on this connection; null when nothing may. */
  #frameOn(way: Way): Uint8Array | null {
    const random = this.#random;
    if (way.lane === null) return this.#isClient ? null : this.#beginOn(way);
    if (way.past) {
      if (this.#isClient) return this.#sayReady(way);
      // The connection is free when both have ended; the client hears that.
      if (!way.tls.isReady) return null;
      way.lane = null;
      return this.#beginOn(way);
    }
    const what = random();
    if (what < 0.8) return data(way, integerBetween(random, 1, random() < 0.8 ? 1_000 : 60_000));
    way.past = true;
    return what < 0.95 ? frame(FRAME.FIN, NONE) : encodeReset(0, 'RESET', 'no more');
  }

  /** To a client whose stream has ended. */
  #sayReady(way: Way): Uint8Array | null {
    if (!way.tls.listener.hasEnded) return null;
    way.lane = null;
    way.tls.listener.hasEnded = false;
    return frame(FRAME.READY, NONE);
  }

  /** A stream begins, or goes on, here. */
  #beginOn(way: Way): Uint8Array | null {
    const random = this.#random;
    way.tls.isReady = false;
    if (!this.#usesLanes || random() < 0.1) {
      Object.assign(way, { lane: 0, sent: 0, past: false });
      way.tls.listener.begin(0);
      return encodeOpen(0, TAG, '');
    }
    // The next one, whose OPEN this overtakes, or one that is there.
    const id = random() < 0.2 ? this.#nextLane : this.#someLane()[0];
    if (id === 0) return null;
    const lane = this.#lanes.get(id) ?? newLane(false);
    this.#lanes.set(id, lane);
    if (lane.attached || lane.isOver) return null;
    const ended = lane.past;
    lane.attached = lane.past = true;
    // The control connection may be behind.
    if (!ended && lane.isOpen && random() < 0.3) this.#late.push(small(id, lane, integerBetween(random, 1, 2_000)));
    Object.assign(way, { lane: id, sent: lane.sent, past: ended });
    way.tls.listener.begin(id);
    return encodeAttach(id, way.sent, ended);
  }

  #wrongFrame(way: Way): Uint8Array {
    const random = this.#random;
    const id = this.#random() < 0.5 ? this.#someLane()[0] : integerBetween(random, 0, this.#nextLane + 4);
    const frames = [
      encodeAttach(id, integerBetween(random, 0, random() < 0.5 ? 4_000 : 200_000), random() < 0.5),
      frame(FRAME.READY, NONE),
      frame(FRAME.FIN, NONE),
      frame(FRAME.DATA, randomBytes(random, integerBetween(random, 0, 2_000))),
      encodeOpen(random() < 0.5 ? 0 : id, TAG, ''),
      encodeReset(id, 'RESET', ''),
      encodePing(FRAME.PING, new Uint8Array(8)),
      encodeCredit(Math.max(1, id), 1_000_000),
    ];
    way.lane ??= 0;
    way.past = true;
    way.tls.listener.isSure = false;
    const wrong = oneOf(random, frames);
    return random() < 0.5 ? wrong : mutate(random, wrong, 5_000);
  }

  /** What this side's applications do. */
  #act(): void {
    const random = this.#random;
    if ((this.#isClient || this.#serverOpens) && this.#link.state === 'up' && random() < 0.4) this.#open();
    const streams = [...this.#streams.keys()];
    if (streams.length === 0) return;
    const stream = oneOf(random, streams);
    const known = this.#streams.get(stream)!;
    const what = random();
    if (what < 0.6) this.#write(stream, known, integerBetween(random, 1, random() < 0.6 ? 200 : random() < 0.5 ? 16_000 : 100_000));
    else if (what < 0.8) this.#read(stream, known);
    else if (what < 0.93) stream.end();
    else if (what < 0.97) this.#reset(stream, known);
    else if (random() < 0.1) this.#link.drain();
  }

  #open(): void {
    try {
      const stream = this.#link.open({ tag: TAG, target: '' }) as TlsStream;
      if (stream.lane !== null) this.#lanes.set(stream.lane.id, newLane(true));
      this.#take(stream);
    } catch (error) {
      if (!(error instanceof QtunnelError) || error.code !== 'STREAM_LIMIT') throw error;
    }
  }

  #take(stream: TlsStream): void {
    const known: Known = { ended: false, wasCut: false, resets: 0, read: 0, written: 0 };
    this.#streams.set(stream, known);
    const greedy = this.#random() < 0.7;
    const isAlive = (): void => {
      if (known.resets > 0 || known.wasCut) throw new Error(`stream ${stream.id} is called after its end`);
    };
    stream.handler = {
      onReadable: () => {
        isAlive();
        if (greedy) this.#read(stream, known);
      },
      onWritable: () => {
        isAlive();
        if (this.#random() < 0.5) this.#write(stream, known, 3_000);
      },
      onReset: (reason) => {
        isAlive();
        known.resets++;
        if (reason === 'PROTOCOL') this.violations++;
      },
    };
    if (this.#random() < 0.05) this.#reset(stream, known);
  }

  #write(stream: LinkStream, known: Known, length: number): void {
    known.written += stream.write(pattern(known.written, length));
  }

  #read(stream: LinkStream, known: Known): void {
    const into = new Uint8Array(integerBetween(this.#random, 1, 20_000));
    for (let n = stream.read(into); n !== NOTHING_YET; n = stream.read(into)) {
      if (n === END) {
        stream.end();
        known.ended = true;
        return;
      }
      if (this.#careless === 0 && Buffer.compare(pattern(known.read, n), into.subarray(0, n)) !== 0)
        throw new Error(`stream ${stream.id} gives other bytes than were sent, from ${known.read} on`);
      known.read += n;
      this.bytes += n;
    }
  }

  #reset(stream: LinkStream, known: Known): void {
    if (known.resets > 0 || known.ended) return;
    known.ended = known.wasCut = true;
    stream.reset('RESET', 'enough');
  }

  /** One that has been opened, mostly. */
  #someLane(): [number, Lane | undefined] {
    const random = this.#random;
    const ids = [...this.#lanes].filter(([, { isOpen }]) => isOpen).map(([id]) => id);
    if (ids.length === 0) return [0, undefined];
    const id = oneOf(random, ids);
    return [id, this.#lanes.get(id)];
  }

  #socket(): FakeTls {
    const tls: FakeTls = new FakeTls(new Listener((ended) => this.#whenAttached(tls, ended)));
    this.#all.push(tls);
    return tls;
  }

  /** The client goes on with a stream on this connection: so may the peer. */
  #whenAttached(tls: FakeTls, hasEnded: boolean): Uint8Array | null {
    const way = this.#ways.find((one) => one.tls === tls);
    const id = tls.listener.lane;
    if (way === undefined || !this.#isClient || id === null) return null;
    if (id === 0) {
      Object.assign(way, { lane: 0, sent: 0, past: false });
      return null;
    }
    const lane = this.#lanes.get(id);
    if (lane === undefined) return null;
    const ended = lane.past;
    // To the server the stream was over.
    if (ended && hasEnded && this.#random() < 0.3) return frame(FRAME.READY, NONE);
    Object.assign(way, { lane: id, sent: lane.sent, past: ended });
    lane.past = true;
    return encodeAttach(id, lane.sent, ended);
  }
}

function newLane(isOpen: boolean): Lane {
  return { isOpen, sent: 0, past: false, attached: false, isOver: false };
}

function small(id: number, lane: Lane, length: number): Uint8Array {
  const into = new Uint8Array(SMALL_HEADER + length);
  const bytes = pattern(lane.sent, length);
  lane.sent += length;
  return into.subarray(0, writeSmall(into, 0, id, bytes));
}

function data(way: Way, length: number): Uint8Array {
  const bytes = pattern(way.sent, length);
  way.sent += length;
  return frame(FRAME.DATA, bytes);
}

async function turn(): Promise<void> {
  for (let n = 0; n < 2; n++) await new Promise((resolve) => setImmediate(resolve));
}

const TAG = '0011223344556677';
const NONE = new Uint8Array(0);
const NO_HELLO = [
  encodePing(FRAME.PING, new Uint8Array(8)),
  encodeOpen(0, TAG, ''),
  encodeAttach(1, 0, false),
  frame(FRAME.READY, NONE),
];
const CERTIFICATE = new Uint8Array(32).fill(1);
/** How links may end: by what the peer did wrong, by its hanging up, or because both are through. */
const ENDS: ReadonlySet<string> = new Set(['PROTOCOL_VIOLATION', 'LINK_LOST', 'LINK_CLOSED']);
/** Bytes: a batch under way and one that waits, and what control frames may wait besides. */
const MOST_WAITING = 1_048_576 + 3 * 131_072;
