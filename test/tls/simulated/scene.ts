import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../../../src/link/link.ts';
import { seededRandom } from '../../support/random.ts';
import { type Actor, SimulatedLoop, STEADY } from './loop.ts';
import { SimulatedPair } from './pair.ts';

/** A link, a stream of the client's on it of which one byte has come, and what a test does with them. */
export interface Scene {
  readonly pair: SimulatedPair;
  readonly here: End;
  readonly there: End;
  /** Opens another one. */
  open(): End;
  /** Lets happen what can. */
  pass(): void;
  /** These ends of connections stand still from now on, and no others. */
  hold(...actors: readonly Actor[]): void;
}

/** Plays `script` on a link whose connections have room for `capacity` bytes on their way, and whose server may open streams as well or not. */
export function play(script: (scene: Scene) => void, { capacity = 1_000_000, serverOpens = true } = {}): void {
  const loop = new SimulatedLoop(seededRandom(1), STEADY);
  const restore = loop.install();
  try {
    script(setUp(loop, capacity, serverOpens));
  } finally {
    restore();
  }
}

function setUp(loop: SimulatedLoop, capacity: number, serverOpens: boolean): Scene {
  const pair = new SimulatedPair(loop, { lane: true, serverOpens, failing: 0, capacities: [capacity], holdings: [undefined] });
  const accepted: End[] = [];
  pair.server.handler = { onStream: (stream) => void accepted.push(new End(stream)), onStateChange() {}, onClose() {} };
  const pass = (): void => loop.run(() => false, loop.now + A_MOMENT);
  const open = (): End => new End(pair.client.open({ tag: '0000000000000001', target: '' }));
  let held: readonly Actor[] = [];
  const hold = (...actors: readonly Actor[]): void => {
    for (const actor of held) loop.release(actor);
    held = actors;
    for (const actor of held) loop.hold(actor);
  };
  pass();
  const here = open();
  here.write(1);
  pass();
  return { pair, here, there: accepted[0]!, open, pass, hold };
}

/** One end of a stream, which reads what comes. */
export class End implements StreamHandler {
  readonly stream: LinkStream;
  received = 0;
  ended = false;
  /** How often it was told that there is room. */
  writable = 0;
  readonly resets: string[] = [];
  /** Reads nothing while true. */
  holding = false;

  constructor(stream: LinkStream) {
    this.stream = stream;
    stream.handler = this;
  }

  /** Writes up to `length` bytes at once and returns how many were taken. */
  writeBulk(length: number): number {
    return this.stream.write(new Uint8Array(length));
  }

  /** The same in messages, which do not ask for a connection of their own. */
  write(length: number): number {
    let taken = 0;
    for (let left = length; left > 0;) {
      const n = this.stream.write(new Uint8Array(Math.min(left, 1000)));
      if (n === 0) break;
      taken += n;
      left -= n;
    }
    return taken;
  }

  release(): void {
    this.holding = false;
    this.onReadable();
  }

  onReadable(): void {
    while (!this.holding && !this.ended) {
      const n = this.stream.read(new Uint8Array(65_536));
      if (n === NOTHING_YET) return;
      if (n === END) this.ended = true;
      else this.received += n;
    }
  }

  onWritable(): void {
    this.writable++;
  }

  onReset(reason: string, message: string): void {
    this.resets.push(`${reason} ${message}`);
  }
}

/** Milliseconds that pass meanwhile: less than any time limit. */
const A_MOMENT = 10;
