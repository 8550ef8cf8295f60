import { QtunnelError } from '../../src/errors.ts';
import { END, type LinkStream, NOTHING_YET } from '../../src/link/link.ts';
import { ByteWriter } from '../../src/protocol/bytes.ts';
import { MAX_DATAGRAM } from '../../src/protocol/datagrams.ts';
import { FRAME, frame } from '../../src/protocol/frames.ts';
import {
  encodeCredit,
  encodeFin,
  encodeGoAway,
  encodeMove,
  encodeOpen,
  encodePing,
  encodeReset,
  SMALL_HEADER,
  writeSmall,
} from '../../src/protocol/messages.ts';
import type { QuicConnection } from '../../src/quic/connection.ts';
import { StreamCut } from '../../src/quic/quiche-streams.ts';
import { ControlStream } from '../../src/quic/control-stream.ts';
import { QuicLink } from '../../src/quic/link.ts';
import { CONTROL_STREAM } from '../../src/quic/stage.ts';
import { quicOptions } from '../quic/pair.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { mutate, oneOf } from './mutations.ts';

export interface LinkFuzz {
  readonly frames: number;
  readonly links: number;
  /** Links that ended in a violation, and bytes that streams took from the frames. */
  readonly violations: number;
  readonly bytes: number;
  /** Datagrams that streams got. */
  readonly datagrams: number;
}

/**
 * Frames of a peer that is proven and means ill, into a link: mostly in an order that makes sense, with some changed, at the wrong time, or about the wrong stream, while the streams are read, written,
 * ended and reset. Whatever comes, the link goes on or ends with PROTOCOL_VIOLATION, tells each of its streams once, and keeps nothing.
 * @throws Error with the seed of the link that did otherwise.
 */
export function fuzzLink(frames: number, seed: number): LinkFuzz {
  const sum = { frames: 0, links: 0, violations: 0, bytes: 0, datagrams: 0 };
  for (; sum.frames < frames; sum.links++) {
    const one = new Case(seed + sum.links);
    try {
      one.run();
    } catch (error) {
      throw new Error(`seed ${seed + sum.links}: ${(error as Error).message}\n${one.history.join('\n')}`, { cause: error });
    }
    sum.frames += one.history.length;
    sum.bytes += one.bytes;
    sum.datagrams += one.datagrams;
    if (one.isViolated) sum.violations++;
  }
  return sum;
}

/** One link and what is done to it. */
class Case {
  readonly history: string[] = [];
  bytes = 0;
  datagrams = 0;
  readonly #random: () => number;
  readonly #connection: FakeConnection;
  readonly #link: QuicLink;
  readonly #streams = new Map<LinkStream, { ended: boolean; resets: number }>();
  readonly #role: 'client' | 'server';
  #nextPeer: number;
  #nextQuic: number;
  readonly #careless: number;
  /** Streams whose input has moved or ended: nothing may follow on the control stream. */
  readonly #past = new Set<number>();

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#connection = new FakeConnection();
    this.#role = this.#random() < 0.5 ? 'client' : 'server';
    [this.#nextPeer, this.#nextQuic] = this.#role === 'client' ? [1, 3] : [2, 2];
    this.#careless = oneOf(this.#random, [0, 0.01, 0.05, 0.3]);
    const connection = this.#connection as unknown as QuicConnection;
    const control = new ControlStream(connection, () => {});
    const settings = {
      initialCredit: 65_536,
      maxStreams: 20,
      idleTimeout: 30_000,
      shards: 16,
      parity: 0,
      serverOpens: 1,
      datagrams: MAX_DATAGRAM,
      reuse: 0,
      lane: 0,
      endpoints: 0,
    };
    const keys = { toPeer: KEY, fromPeer: KEY };
    const link = { id: '00', role: this.#role, own: settings, peer: settings, shards: keys, reports: keys };
    this.#link = new QuicLink(connection, control, quicOptions({ maxStreams: 20, buffer: 262_144 }), link);
    this.#connection.stage = this.#link;
    this.#link.handler = {
      onStream: (stream) => this.#take(stream),
      onStateChange() {},
      onClose: () => {},
    };
  }

  get isViolated(): boolean {
    return this.#connection.reason?.code === 'PROTOCOL_VIOLATION';
  }

  run(): void {
    for (let n = integerBetween(this.#random, 1, 120); n > 0 && this.#connection.reason === null; n--) this.#step();
    const { reason } = this.#connection;
    // Both have said that they are through.
    const isDrained = reason?.code === 'LINK_CLOSED' && this.#link.streams === 0;
    if (reason !== null && !this.isViolated && !isDrained) throw new Error(`the link ended with ${reason.code}: ${reason.message}`);
    if (reason === null) this.#connection.close(0, new QtunnelError('LINK_CLOSED', 'The test is over.'));
    for (const [stream, state] of this.#streams)
      if (!state.ended && state.resets !== 1) throw new Error(`stream ${stream.id} was reset ${state.resets} times`);
    if (this.#link.promised !== 0 && this.#link.streams === 0) throw new Error(`${this.#link.promised} bytes are still promised`);
    if (this.#link.streams !== 0) throw new Error(`${this.#link.streams} streams are left`);
  }

  #step(): void {
    const random = this.#random;
    const connection = this.#connection;
    if (random() < 0.7) {
      for (let n = integerBetween(random, 1, 4); n > 0; n--) {
        const bytes = random() < this.#careless ? mutate(random, this.#frame(), 5_000) : this.#frame();
        this.history.push(Buffer.from(bytes.subarray(0, 40)).toString('hex'));
        connection.receive(CONTROL_STREAM, bytes);
      }
    }
    if (random() < 0.2) {
      const part = random() < this.#careless ? mutate(random, this.#datagramPart(), 5_000) : this.#datagramPart();
      this.history.push(`datagram ${Buffer.from(part.subarray(0, 40)).toString('hex')}`);
      connection.parts.push(part);
    }
    if (random() < 0.4) this.#act();
    connection.turn(this.#random() < 0.9);
  }

  /** What this side's applications do. */
  #act(): void {
    const random = this.#random;
    if (this.#link.state === 'up' && random() < 0.4) {
      try {
        this.#take(this.#link.open({ tag: '0011223344556677', target: '' }));
      } catch (error) {
        if (!(error instanceof QtunnelError) || error.code !== 'STREAM_LIMIT') throw error;
      }
    }
    const streams = [...this.#streams.keys()];
    if (streams.length === 0) return;
    const stream = oneOf(random, streams);
    const state = this.#streams.get(stream)!;
    const what = random();
    if (random() < 0.1) stream.sendDatagram!(new Uint8Array(integerBetween(random, 0, 70_000)));
    if (what < 0.6) stream.write(new Uint8Array(integerBetween(random, 1, random() < 0.7 ? 200 : 100_000)));
    else if (what < 0.8) this.#read(stream, state);
    else if (what < 0.9) stream.end();
    else if (what < 0.93) this.#reset(stream, state);
    else if (what < 0.94) this.#link.drain();
    // The path takes less, or more, from here on.
    else this.#connection.room = oneOf(random, [0, 10, 3_000, 1_000_000]);
  }

  #reset(stream: LinkStream, state: { ended: boolean; resets: number }): void {
    if (state.resets > 0 || state.ended) return;
    state.ended = true;
    stream.reset('RESET', 'enough');
  }

  /** A frame that may come next, or with `careless` one that may not. */
  #frame(): Uint8Array {
    const random = this.#random;
    const stream = this.#someStream();
    switch (integerBetween(random, 0, 9)) {
      case 0:
      case 1:
        this.#nextPeer += 2;
        return encodeOpen(this.#nextPeer - 2, '0011223344556677', random() < 0.1 ? 'target' : '');
      case 2:
      case 3:
      case 4:
        return small(this.#someStream(true), integerBetween(random, 1, random() < 0.8 ? 100 : 4_000));
      case 5:
        return encodeCredit(stream, integerBetween(random, 0, 10_000_000));
      case 6:
        return random() < 0.5 ? encodeFin(this.#leave()) : encodeReset(stream, 'RESET', 'no more');
      case 7: {
        const id = this.#nextQuic;
        this.#nextQuic += 4;
        this.#connection.receive(id, randomBytes(random, integerBetween(random, 1, 3_000)), random() < 0.4);
        if (random() < 0.1) this.#connection.cut(id);
        return encodeMove(this.#leave(), id);
      }
      case 8:
        return encodePing(FRAME.PING, new Uint8Array(8));
      default:
        return random() < 0.05 ? encodeGoAway('bye', random() < 0.5) : encodeCredit(stream, 2 ** integerBetween(random, 0, 52));
    }
  }

  #datagramPart(): Uint8Array {
    const random = this.#random;
    const last = oneOf(random, [0, 0, 0, 1, 2, 255]);
    const writer = new ByteWriter()
      .varint(this.#someStream())
      .u8(0)
      .u8(integerBetween(random, 0, 30));
    writer.u8(integerBetween(random, 0, last)).u8(last);
    return writer.raw(randomBytes(random, integerBetween(random, 0, 1_200))).finish();
  }

  /** One that will be past its control stream. */
  #leave(): number {
    const id = this.#someStream(true);
    this.#past.add(id);
    return id;
  }

  /** The number of one that has been opened, mostly; with `isThere` of one whose input has neither moved nor ended, if there is any. */
  #someStream(isThere = false): number {
    const random = this.#random;
    if (random() < this.#careless) return integerBetween(random, 0, this.#nextPeer + 4);
    const ids = [...this.#streams.keys()].map(({ id }) => id).filter((id) => !isThere || !this.#past.has(id));
    if (ids.length > 0) return oneOf(random, ids);
    // It follows in the same turn, or was refused.
    this.#connection.receive(CONTROL_STREAM, encodeOpen(this.#nextPeer, '0011223344556677', ''));
    this.#nextPeer += 2;
    return this.#nextPeer - 2;
  }

  #take(stream: LinkStream): void {
    const state = { ended: false, resets: 0 };
    this.#streams.set(stream, state);
    const greedy = this.#random() < 0.7;
    stream.handler = {
      onReadable: () => {
        if (state.resets > 0) throw new Error(`stream ${stream.id} is read after its end`);
        if (greedy) this.#read(stream, state);
      },
      onWritable: () => {
        if (state.resets > 0) throw new Error(`stream ${stream.id} is written after its end`);
        if (this.#random() < 0.3) stream.write(new Uint8Array(1_000));
      },
      onDatagram: (datagram) => {
        if (state.resets > 0 || datagram.length > MAX_DATAGRAM) throw new Error(`a datagram that stream ${stream.id} must not get`);
        this.datagrams++;
      },
      onReset: () => void state.resets++,
    };
    if (this.#random() < 0.05) {
      state.ended = true;
      stream.reset('DIAL_REFUSED', 'no');
    }
  }

  #read(stream: LinkStream, state: { ended: boolean }): void {
    const into = new Uint8Array(integerBetween(this.#random, 1, 20_000));
    for (let n = stream.read(into); n !== NOTHING_YET; n = stream.read(into)) {
      if (n === END) {
        // What ends in both directions is told nothing more.
        stream.end();
        state.ended = true;
        return;
      }
      this.bytes += n;
    }
  }
}

/** In the place of quiche and the driver: takes what it is given, and gives what a peer is said to have sent. */
class FakeConnection {
  readonly clock = { now: () => this.#now, setTimer: () => ({ cancel() {} }), defer() {} };
  readonly peerName = '127.0.0.1:1';
  readonly udp = 'fake';
  readonly path = null;
  readonly packetizer = { acceptBlocks() {}, startBlocks() {}, path: null };
  readonly native = { destinationId: () => new Uint8Array(16), streamPriority() {} };
  finSeen = false;
  stage: QuicLink | null = null;
  /** As the connection itself has them. */
  readonly streams = this;
  reason: QtunnelError | null = null;
  /** What is taken of each write. */
  room = 1_000_000;
  /** Of datagrams, that have come. */
  readonly parts: Uint8Array[] = [];
  readonly datagrams = {
    hasRoom: (bytes: number) => bytes <= this.room,
    send: (part: Uint8Array) => part.length <= this.room,
    receive: () => this.parts.shift() ?? null,
  };
  #now = 1_000;
  #closed = false;
  readonly #incoming = new Map<number, { bytes: Uint8Array[]; fin: boolean; cut: boolean }>();

  receive(id: number, bytes: Uint8Array, fin = false): void {
    const stream = this.#stream(id);
    if (stream.fin) return;
    stream.bytes.push(bytes);
    stream.fin = fin;
  }

  cut(id: number): void {
    this.#stream(id).cut = true;
  }

  turn(received: boolean): void {
    if (this.#closed) return;
    this.#now += 1;
    if (received) this.stage!.onReceived(this.#now);
    if (!this.#closed) this.stage!.onTurn(this.#now);
  }

  close(_code: number, reason: QtunnelError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.reason = reason;
    this.stage!.onClosed(reason);
  }

  isReadable(id: number): boolean {
    const stream = this.#incoming.get(id);
    return stream !== undefined && (stream.bytes.length > 0 || stream.fin || stream.cut);
  }

  listReadable(): number[] {
    return [...this.#incoming.keys()].filter((id) => id !== CONTROL_STREAM && this.isReadable(id));
  }

  read(id: number, into: Uint8Array): number {
    const stream = this.#stream(id);
    this.finSeen = false;
    if (stream.cut) {
      this.#incoming.delete(id);
      throw new StreamCut(1);
    }
    const [first] = stream.bytes;
    if (first === undefined && !stream.fin) return NOTHING_YET;
    const taken = Math.min(first?.length ?? 0, into.length);
    if (first !== undefined) {
      into.set(first.subarray(0, taken));
      if (taken < first.length) stream.bytes[0] = first.subarray(taken);
      else stream.bytes.shift();
    }
    if (stream.fin && stream.bytes.length === 0) {
      this.finSeen = true;
      this.#incoming.delete(id);
    }
    return taken;
  }

  discard(id: number): void {
    this.#incoming.delete(id);
  }

  write(_id: number, bytes: Uint8Array): number {
    return Math.min(bytes.length, this.room);
  }

  hasRoom(bytes: number): boolean {
    return bytes <= this.room;
  }

  isEndPending(): boolean {
    return false;
  }

  takeWrote(): boolean {
    return false;
  }

  refreshPath(): void {}
  schedule(): void {}
  scheduleSending(): void {}
  cutWriting(): void {}
  ping(): void {}
  handleSilence(): void {}

  #stream(id: number): { bytes: Uint8Array[]; fin: boolean; cut: boolean } {
    let stream = this.#incoming.get(id);
    if (stream === undefined) this.#incoming.set(id, (stream = { bytes: [], fin: false, cut: false }));
    return stream;
  }
}

function small(stream: number, length: number): Uint8Array {
  const into = new Uint8Array(SMALL_HEADER + length);
  return length > 4_088
    ? frame(FRAME.SMALL, new Uint8Array(length))
    : into.subarray(0, writeSmall(into, 0, stream, new Uint8Array(length)));
}

const KEY = new Uint8Array(32);
