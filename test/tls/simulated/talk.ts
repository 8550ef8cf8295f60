import { QtunnelError } from '../../../src/errors.ts';
import { END, type Link, type LinkStream, NOTHING_YET, type StreamHandler } from '../../../src/link/link.ts';
import type { Actor, SimulatedLoop } from './loop.ts';

/** What one end of a stream does. */
interface Part {
  /** Bytes that it writes, and in pieces of how many at most. */
  readonly length: number;
  readonly piece: number;
  /** Whether it says nothing before it has heard the other's end, and ends nothing before. */
  readonly answers: boolean;
  /** Whether it writes first and ends only when the other has. */
  readonly endsLast: boolean;
  /** Bytes written and read from which on it resets the stream; Infinity when it does not. */
  readonly resetsAt: number;
  /** Whether it reads now and then only. */
  readonly slow: boolean;
  /** Where in the common bytes its own begin. */
  readonly salt: number;
}

/** A stream and the programs at its ends. */
export class Talk {
  readonly number: number;
  readonly opensAt: 'client' | 'server';
  readonly #loop: SimulatedLoop;
  readonly #here: Part;
  readonly #there: Part;
  #opener: Talker | null = null;
  #taker: Talker | null = null;
  /** The link takes no more streams. */
  #isRefused = false;

  constructor(loop: SimulatedLoop, number: number, sizes: readonly number[], serverOpens: boolean) {
    this.#loop = loop;
    this.number = number;
    this.opensAt = serverOpens && loop.random() < 0.5 ? 'server' : 'client';
    this.#here = makePart(loop, sizes);
    const there = makePart(loop, sizes);
    // One of them has to begin, and to end first.
    const waits = this.#here.answers || this.#here.endsLast;
    this.#there = waits ? { ...there, answers: false, endsLast: false } : there;
  }

  get ends(): Talker[] {
    return [this.#opener, this.#taker].filter((end) => end !== null);
  }

  get isThrough(): boolean {
    if (this.#opener === null) return this.#isRefused;
    const isAlone = this.#opener.hasReset || this.#opener.resets.length > 0;
    return this.#opener.isThrough && (this.#taker?.isThrough ?? isAlone);
  }

  /** A connection's loss has ended it. */
  get isHarmed(): boolean {
    return !this.ends.some(({ hasReset }) => hasReset) && this.ends.some(({ resets }) => resets.length > 0);
  }

  open(link: Link): void {
    try {
      this.#opener = new Talker(
        this.#loop,
        link.open({ tag: String(this.number).padStart(16, '0'), target: '' }),
        this.#here,
        this.#there,
      );
    } catch (error) {
      if (!(error instanceof QtunnelError) || error.code !== 'LINK_CLOSED') throw error;
      this.#isRefused = true;
    }
  }

  accept(stream: LinkStream): void {
    if (this.#taker !== null) throw new Error(`Stream ${this.number} was opened twice.`);
    this.#taker = new Talker(this.#loop, stream, this.#there, this.#here);
  }

  /** What is wrong with it, where connections may be lost or not. */
  faults(mayLose: boolean): string[] {
    const [opener, taker] = [this.#opener, this.#taker];
    if (opener === null) return [];
    const faults = this.ends.flatMap((end) => end.faults);
    if (!this.isThrough) faults.push('stands still');
    for (const [one, other] of [
      [opener, taker],
      [taker, opener],
    ] as const) {
      if (one === null) continue;
      if (one.heardEnd && other?.hasEnded !== true) faults.push('heard an end that nobody has said');
      for (const reset of one.resets) {
        const wasAsked = other?.hasReset === true && reset === `NO_BACKEND ${ASKED}`;
        // Who does not take a reset within a second, or has heard and said the last, hears the end of the connection instead.
        const wasLate = other?.hasReset === true && (this.#loop.isHurried || (one.heardEnd && one.hasEnded));
        const wasLost = (mayLose || wasLate) && /^(LINK_LOST|SHUTDOWN)/.test(reset);
        if (!wasAsked && !wasLost) faults.push(`nobody asked for ${reset}`);
      }
    }
    return faults;
  }

  toString(): string {
    return `${this.opensAt}: ${String(this.#opener)} | ${String(this.#taker)}`;
  }
}

/** Opens streams one after another. */
export class Opener implements Actor {
  readonly #loop: SimulatedLoop;
  readonly #links: { readonly client: Link; readonly server: Link };
  readonly #talks: Talk[];

  constructor(loop: SimulatedLoop, links: { readonly client: Link; readonly server: Link }, talks: readonly Talk[]) {
    this.#loop = loop;
    this.#links = links;
    this.#talks = [...talks];
  }

  step(): boolean {
    const next = this.#talks.shift();
    if (next === undefined) {
      this.#loop.remove(this);
      return false;
    }
    next.open(this.#links[next.opensAt]);
    return true;
  }
}

/** A program at one end of a stream; checks each byte that it reads. */
class Talker implements Actor, StreamHandler {
  readonly stream: LinkStream;
  readonly part: Part;
  written = 0;
  received = 0;
  /** It has said its last, heard the other's, or reset the stream. */
  hasEnded = false;
  heardEnd = false;
  hasReset = false;
  resets: string[] = [];
  /** What was wrong; empty when nothing was. */
  readonly faults: string[] = [];
  readonly #loop: SimulatedLoop;
  readonly #theirs: Part;
  #isWritable = true;
  #isReadable = true;

  constructor(loop: SimulatedLoop, stream: LinkStream, own: Part, theirs: Part) {
    this.#loop = loop;
    this.stream = stream;
    this.part = own;
    this.#theirs = theirs;
    stream.handler = this;
    loop.add(this);
  }

  /** Nothing more comes of it. */
  get isThrough(): boolean {
    return this.hasReset || this.resets.length > 0 || (this.hasEnded && this.heardEnd);
  }

  step(): boolean {
    if (this.isThrough) return this.#leave();
    const first = this.#loop.below(2);
    return first === 0 ? this.#speak() || this.#listen() : this.#listen() || this.#speak();
  }

  onReadable(): void {
    this.#heedSilence();
    this.#isReadable = true;
    if (!this.part.slow) while (this.#listen());
  }

  onWritable(): void {
    this.#heedSilence();
    if (this.#isWritable) this.faults.push('onWritable though there was room');
    this.#isWritable = true;
    if (this.#loop.random() < 0.5) this.#speak();
  }

  onReset(reason: string, message: string): void {
    this.#heedSilence();
    this.resets.push(`${reason} ${message}`);
  }

  toString(): string {
    return `wrote ${this.written}${this.hasEnded ? ' and ended' : ''}, read ${this.received}${this.heardEnd ? ' and the end' : ''}${this.hasReset ? ', reset it' : ''}${this.resets.map((reset) => `, heard ${reset}`).join('')}${this.faults.map((fault) => ` !! ${fault}`).join('')}`;
  }

  #heedSilence(): void {
    if (this.hasReset || this.resets.length > 0) this.faults.push('called after a reset');
  }

  #speak(): boolean {
    if (this.hasReset || this.resets.length > 0) return false;
    if (this.written + this.received >= this.part.resetsAt) {
      this.hasReset = true;
      this.stream.reset('NO_BACKEND', ASKED);
      return true;
    }
    if (this.hasEnded || (this.part.answers && !this.heardEnd)) return false;
    if (this.written < this.part.length) return this.#write();
    if (this.part.endsLast && !this.heardEnd) return false;
    this.hasEnded = true;
    this.stream.end();
    return true;
  }

  #write(): boolean {
    if (!this.#isWritable) return false;
    const n = Math.min(this.part.length - this.written, 1 + this.#loop.below(this.part.piece));
    const at = this.part.salt + this.written;
    const taken = this.stream.write(BYTES.subarray(at, at + n));
    this.written += taken;
    if (taken < n) this.#isWritable = false;
    return true;
  }

  #listen(): boolean {
    if (!this.#isReadable || this.heardEnd || this.hasReset || this.resets.length > 0) return false;
    const n = this.stream.read(INTO.subarray(0, this.part.slow ? 1 + this.#loop.below(20_000) : INTO.length));
    if (n === NOTHING_YET) this.#isReadable = false;
    else if (n === END) this.#hearEnd();
    else this.#check(n);
    return n !== NOTHING_YET;
  }

  #hearEnd(): void {
    this.heardEnd = true;
    if (this.received !== this.#theirs.length) this.faults.push(`the end after ${this.received} of ${this.#theirs.length} bytes`);
  }

  #check(n: number): void {
    const at = this.#theirs.salt + this.received;
    if (!INTO.subarray(0, n).equals(BYTES.subarray(at, at + n))) this.faults.push(`other bytes from ${this.received} on`);
    this.received += n;
  }

  #leave(): boolean {
    this.#loop.remove(this);
    return true;
  }
}

function makePart(loop: SimulatedLoop, sizes: readonly number[]): Part {
  const resets = loop.random() < 0.15;
  const length = loop.random() < 0.1 ? 0 : 1 + loop.below(sizes[loop.below(sizes.length)]!);
  return {
    length,
    // Not so many that nothing else happens.
    piece: Math.max(length / 50, [100, 3_000, 5_000, 30_000, 200_000][loop.below(5)]!),
    answers: loop.random() < 0.2,
    endsLast: loop.random() < 0.2,
    resetsAt: resets ? loop.below(loop.random() < 0.5 ? 2_000 : 100_000) : Infinity,
    slow: loop.random() < 0.3,
    salt: loop.below(100_000),
  };
}

/** What a stream that is reset says. */
/** How many bytes the streams of a link carry at most, each one of these. */
export const SIZES: readonly (readonly number[])[] = [
  [20, 2_000, 20_000, 70_000, 70_000, 300_000],
  [20, 200, 2_000],
  [70_000, 300_000, 400_000],
];
const ASKED = 'somebody asked for it';
/** All streams carry parts of these. */
const BYTES = Buffer.alloc(500_000);
for (let at = 0, state = 1; at < BYTES.length; at++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  BYTES[at] = state >>> 24;
}
const INTO = Buffer.alloc(32_768);
