import type { QtunnelError } from '../../src/errors.ts';
import { END, type Link, type LinkStream, NOTHING_YET, type OpenRequest, type StreamHandler } from '../../src/link/link.ts';
import type { ResetReason } from '../../src/protocol/reset.ts';
import type { Conditions } from '../support/memory-network.ts';
import { integerBetween, seededRandom } from '../support/random.ts';
import { makeWorld, quic, quicStreamsAlive, type WorldPair } from './pair.ts';

export interface TortureOptions {
  readonly seed: number;
  /** How many connections, and how many of them are open at once. */
  readonly streams: number;
  readonly atOnce: number;
  readonly blocks: 'auto' | 'off';
  readonly buffer: number;
  /** Bytes that one side of a connection writes at most. */
  readonly most: number;
  readonly conditions?: Partial<Conditions>;
  /** Looks on now and then. */
  readonly meanwhile?: (pair: WorldPair) => void;
}

/**
 * Connections opened by both sides of one link, each with a random life: writes of 1 byte to 300 KB, half-closes, resets, readers that are slow, pause, or
 * read a little per call; all of that inside the handlers as well. Every byte is compared, and in the end nothing may be left. Throws what went wrong.
 */
export async function torture(options: TortureOptions): Promise<void> {
  const { seed, blocks, buffer, conditions = {} } = options;
  const pair = await makeWorld({ seed, conditions, link: { blocks, buffer, maxStreams: 1024 } });
  const { world, client, server } = pair;
  const crowd = new Crowd(pair, options);
  crowd.fill();
  try {
    await world.drive(() => crowd.isDone || crowd.problem !== null, 'all connections');
    if (crowd.problem !== null) throw new Error(crowd.problem);
    await world.drive(() => client.link.streams + server.link.streams === 0, 'both sides to forget all streams');
    const promised = [quic(client).promised, quic(server).promised];
    if (promised.some((bytes) => bytes !== 0)) throw new Error(`credit left: ${promised.join(', ')}`);
    await world.drive(() => quicStreamsAlive(pair, 4 * options.streams + 8) === 0, 'quiche to forget its streams');
    (seed % 2 === 0 ? client : server).link.drain();
    await world.drive(() => client.closes.length > 0 && server.closes.length > 0, 'the link to drain');
    const ends = [client, server].map(({ closes }) => closes[0]!.code);
    if (ends.some((code) => code !== 'LINK_CLOSED' && code !== 'LINK_LOST'))
      throw new Error(`the link ended with ${ends.join(', ')}`);
    if (crowd.problem !== null) throw new Error(crowd.problem);
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}; ${crowd.report()}`, { cause: error });
  }
}

class Crowd {
  problem: string | null = null;
  readonly pair: WorldPair;
  readonly options: TortureOptions;
  readonly random: () => number;
  readonly #ends = new Map<string, { opener: Actor; acceptor: Actor | null }>();
  #begun = 0;
  #live = 0;

  constructor(pair: WorldPair, options: TortureOptions) {
    this.pair = pair;
    this.options = options;
    this.random = seededRandom(options.seed ^ 0x5bd1e995);
    for (const side of [pair.client, pair.server]) {
      side.onStream = (stream, request) => this.#accept(stream, request);
      side.onClose = (reason) => {
        side.closes.push(reason);
        if (!this.isDone) this.fail(`the link closed: ${reason.code} ${reason.message}`);
      };
    }
  }

  get isDone(): boolean {
    return this.#begun === this.options.streams && this.#live === 0;
  }

  fill(): void {
    try {
      while (this.#begun < this.options.streams && this.#live < this.options.atOnce) this.#open();
    } catch (error) {
      if ((error as QtunnelError).code !== 'STREAM_LIMIT') return this.fail(String(error));
      this.pair.world.clock.deliverAfter(5, () => this.fill());
    }
  }

  /** One end of a connection is through. */
  handleOver(): void {
    this.#live -= 0.5;
    if (this.random() < 0.5) this.fill();
    else this.pair.world.clock.deliverAfter(this.random() * 5, () => this.fill());
  }

  fail(problem: string): void {
    this.problem ??= problem;
  }

  report(): string {
    const open = [...this.#ends].filter(([, { opener, acceptor }]) => !opener.isOver || acceptor?.isOver !== true);
    return open
      .slice(0, 5)
      .map(([tag, { opener, acceptor }]) => `${tag}: ${opener.describe()} | ${acceptor?.describe() ?? 'never came'}`)
      .join('; ');
  }

  /** The other end of the same connection. */
  peerOf(actor: Actor): Actor | null {
    const ends = this.#ends.get(actor.tag)!;
    return ends.opener === actor ? ends.acceptor : ends.opener;
  }

  #open(): void {
    const link: Link = (this.random() < 0.5 ? this.pair.client : this.pair.server).link;
    const number = this.#begun;
    const tag = number.toString(16).padStart(16, '0');
    const stream = link.open({ tag, target: '' });
    this.#begun++;
    this.#live++;
    const opener = new Actor(this, stream, tag, number * 2);
    this.#ends.set(tag, { opener, acceptor: null });
    opener.begin();
  }

  #accept(stream: LinkStream, { tag }: OpenRequest): void {
    const ends = this.#ends.get(tag);
    if (ends === undefined || ends.acceptor !== null) return this.fail(`stream ${tag} was announced twice, or never opened`);
    ends.acceptor = new Actor(this, stream, tag, Number.parseInt(tag, 16) * 2 + 1);
    ends.acceptor.begin();
  }
}

/** One end of a connection, with a plan of its own. */
class Actor implements StreamHandler {
  readonly tag: string;
  isOver = false;
  hasReset = false;
  readonly #crowd: Crowd;
  readonly #stream: LinkStream;
  readonly #key: number;
  readonly #random: () => number;
  /** Bytes to write in all, and so far. */
  #toWrite: number;
  #written = 0;
  /** What the present write still has to give. */
  #chunk = 0;
  #received = 0;
  #ended = false;
  #readEnd = false;
  #holding = false;
  readonly #readSize: number;
  readonly #oncePerCall: boolean;
  readonly #laziness: number;
  readonly #sizes: readonly [number, number];
  readonly #endsAfterPeer: boolean;
  readonly #resetAt: number;

  constructor(crowd: Crowd, stream: LinkStream, tag: string, number: number) {
    this.#crowd = crowd;
    this.#stream = stream;
    this.tag = tag;
    this.#key = number;
    const random = (this.#random = seededRandom(crowd.options.seed * 7919 + number));
    this.#sizes = pick(random, SIZES);
    this.#toWrite = random() < 0.1 ? 0 : Math.min(Math.floor(crowd.options.most ** random()), MOST_WRITES * this.#sizes[1]);
    this.#readSize = pick(random, [1000, 16_384, 70_000, 262_144]);
    this.#oncePerCall = random() < 0.2;
    this.#laziness = pick(random, [0, 0, 0, 0.1, 0.5]);
    this.#endsAfterPeer = number % 2 === 1 && random() < 0.3;
    // In bytes written and read.
    this.#resetAt = random() < 0.15 ? Math.floor(crowd.options.most ** random()) : Infinity;
    stream.handler = this;
  }

  begin(): void {
    if (this.#random() < 0.1) return this.#later(() => this.#act());
    this.#act();
  }

  onReadable(): void {
    this.#expectLife('onReadable');
    if (this.#holding) return;
    this.#read(this.#oncePerCall);
    if (this.#random() < 0.3) this.#act();
  }

  onWritable(): void {
    this.#expectLife('onWritable');
    if (this.#random() < 0.1) return this.#later(() => this.#act());
    this.#act();
  }

  onReset(reason: ResetReason): void {
    // The stream lives on until its end has found room, which its owner does not see.
    if (this.hasReset) this.#expectLife('onReset');
    if (reason !== 'RESOURCE' || this.#crowd.peerOf(this)?.hasReset !== true) {
      this.#crowd.fail(`${this.describe()} was reset (${reason}) though its peer did not do that`);
    }
    this.#finish();
  }

  describe(): string {
    const state = [
      this.#ended ? 'ended' : '',
      this.#readEnd ? 'read end' : '',
      this.isOver ? 'over' : '',
      this.#holding ? 'holding' : '',
    ];
    const peer = this.#crowd.peerOf(this);
    return `stream ${this.#stream.id} key ${this.#key} wrote ${this.#written} of ${this.#toWrite}, read ${this.#received} of ${peer?.written ?? 0}, ${state.filter(Boolean).join(' ')}`;
  }

  get written(): number {
    return this.#written;
  }

  /** Writes what the plan says until the stream takes no more, or it is time for something else. */
  #act(): void {
    if (this.#ended || this.isOver) return;
    while (this.#written < this.#toWrite) {
      if (this.#chunk === 0) this.#chunk = Math.min(this.#toWrite - this.#written, integerBetween(this.#random, ...this.#sizes));
      const taken = this.#stream.write(bytesOf(this.#key, this.#written, this.#chunk));
      if (taken < 0 || taken > this.#chunk) return this.#crowd.fail(`write took ${taken} of ${this.#chunk}`);
      this.#written += taken;
      const isWhole = taken === this.#chunk;
      this.#chunk -= taken;
      if (this.#resetIfDue() || !isWhole) return;
      if (this.#random() < 0.2) return this.#later(() => this.#act());
    }
    if (!this.#endsAfterPeer || this.#readEnd) this.#end();
  }

  /** Outside of `onReadable` whoever stops before `NOTHING_YET` has to come back by himself. */
  #read(once: boolean): void {
    while (!this.isOver && !this.#readEnd) {
      const into = INPUT.subarray(0, this.#readSize);
      const n = this.#stream.read(into);
      if (n === NOTHING_YET) return;
      if (n === END) return this.#handleEnd();
      this.#check(into.subarray(0, n));
      this.#received += n;
      if (this.#resetIfDue()) return;
      if (this.#random() < this.#laziness) return this.#pause();
      if (once) return;
    }
  }

  #check(bytes: Uint8Array): void {
    const peer = this.#crowd.peerOf(this);
    if (peer === null) return this.#crowd.fail(`${this.describe()} read bytes that nobody has written`);
    if (Buffer.compare(bytes, bytesOf(this.#key ^ 1, this.#received, bytes.length)) !== 0) {
      this.#crowd.fail(`${this.describe()} read wrong bytes at ${this.#received}`);
    }
  }

  #handleEnd(): void {
    const peer = this.#crowd.peerOf(this);
    if (peer?.written !== this.#received) this.#crowd.fail(`${this.describe()} read an end too early, or too late`);
    this.#readEnd = true;
    if (this.#ended) this.#finish();
    else if (this.#endsAfterPeer) this.#act();
  }

  #end(): void {
    this.#ended = true;
    this.#stream.end();
    if (this.#readEnd) this.#finish();
    // Writing after the end must be harmless.
    else if (this.#stream.write(ONE) !== 0) this.#crowd.fail('a write after the end was taken');
  }

  #resetIfDue(): boolean {
    if (this.isOver || this.#written + this.#received < this.#resetAt) return false;
    this.hasReset = true;
    this.#finish();
    this.#stream.reset('RESOURCE', 'as planned');
    return true;
  }

  #pause(): void {
    this.#holding = true;
    this.#later(() => {
      this.#holding = false;
      if (!this.isOver) this.#read(false);
    });
  }

  #later(run: () => void): void {
    const delay = this.#random() < 0.1 ? 60 : 5;
    this.#crowd.pair.world.clock.deliverAfter(this.#random() * delay, run);
  }

  #expectLife(what: string): void {
    if (this.isOver) this.#crowd.fail(`${what} was called on ${this.describe()}`);
  }

  #finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#crowd.handleOver();
  }
}

/** A view that holds until the next call. What belongs where differs from connection to connection and from place to place. */
function bytesOf(key: number, at: number, length: number): Uint8Array {
  const start = (at + key * 4099) % PERIOD;
  return PATTERN.subarray(start, start + length);
}

function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!;
}

const SIZES: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 100],
  [1, 4_000],
  [4_080, 4_100],
  [1, 20_000],
  [1, 300_000],
  [60_000, 65_536],
];
const MOST_WRITES = 200;
const PERIOD = 65_521;
const PATTERN = ((): Uint8Array => {
  const random = seededRandom(99);
  const once = Uint8Array.from({ length: PERIOD }, () => random() * 256);
  return Uint8Array.from({ length: PERIOD + 300_001 }, (_, i) => once[i % PERIOD]!);
})();
const INPUT = new Uint8Array(262_144);
const ONE = Uint8Array.of(1);
