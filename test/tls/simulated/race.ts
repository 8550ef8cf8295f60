import type { QtunnelError } from '../../../src/errors.ts';
import { seededRandom } from '../../support/random.ts';
import { type Actor, anyChances, SimulatedLoop } from './loop.ts';
import { SimulatedPair } from './pair.ts';
import { Opener, SIZES, Talk } from './talk.ts';

/** What happens to a link besides its streams. */
export interface Trouble {
  /** Either side, or both, drain it at some time. */
  readonly drains?: boolean;
  /** Its control connection is cut off at some time. */
  readonly losesControl?: boolean;
  /** How many other connections are cut off, whether they wait or carry a stream. */
  readonly losesOthers?: number;
  /** No connection can be made but the control connection. */
  readonly hasNoOthers?: boolean;
  /** The server takes streams on connections of their own only. */
  readonly withoutLanes?: boolean;
}

export interface Outcome {
  readonly streams: number;
  readonly resets: number;
  /** Connections that were given to a stream with a lane. */
  readonly attached: number;
  readonly bytes: number;
}

/** Kinds of trouble that are worth trying, with what to call them. */
export const TROUBLES: readonly (readonly [string, Trouble])[] = [
  ['nothing else', {}],
  ['a drain', { drains: true }],
  ['no connection but the control connection', { hasNoOthers: true }],
  ['connections that are lost', { losesOthers: 2 }],
  ['the control connection lost', { losesControl: true }],
  ['all of that', { drains: true, losesControl: true, losesOthers: 1 }],
  ['no lanes, and a drain', { withoutLanes: true, drains: true }],
  ['no lanes, and connections that are lost', { withoutLanes: true, losesOthers: 2 }],
];

/**
 * A link with streams of all shapes from either side, in an order of events that follows from `seed`.
 * @throws Error when bytes or ends are lost, something is left over, or an end blames the other.
 */
export function race(seed: number, trouble: Trouble = {}): Outcome {
  const random = seededRandom(seed);
  const loop = new SimulatedLoop(random, anyChances(random));
  const restore = loop.install();
  try {
    return new Race(loop, trouble).run();
  } finally {
    restore();
  }
}

class Race {
  readonly #loop: SimulatedLoop;
  readonly #trouble: Trouble;
  readonly #pair: SimulatedPair;
  readonly #serverOpens: boolean;
  readonly #talks: Talk[] = [];
  readonly #closes: string[] = [];
  /** What is still to happen at a time by chance. */
  #due = 0;

  constructor(loop: SimulatedLoop, trouble: Trouble) {
    this.#loop = loop;
    this.#trouble = trouble;
    this.#serverOpens = loop.random() < 0.7;
    const lane = trouble.withoutLanes !== true;
    const options = { ...CHOICES, lane, serverOpens: this.#serverOpens, failing: this.#failing };
    const pair = (this.#pair = new SimulatedPair(loop, options));
    for (const [name, link] of Object.entries({ client: pair.client, server: pair.server })) {
      const onClose = ({ code, message }: QtunnelError): void => void this.#closes.push(`${name}: ${code} ${message}`);
      link.handler = {
        onStream: (stream, { tag }) => this.#talks[Number(tag)]!.accept(stream),
        onStateChange() {},
        onClose,
      };
    }
  }

  run(): Outcome {
    const loop = this.#loop;
    const count = 1 + loop.below(loop.random() < 0.5 ? 4 : 20);
    const sizes = SIZES[loop.below(SIZES.length)]!;
    for (let n = 0; n < count; n++) this.#talks.push(new Talk(loop, n, sizes, this.#serverOpens));
    loop.add(new Opener(loop, this.#pair, this.#talks));
    this.#makeTrouble();
    loop.run(() => this.#due === 0 && this.#talks.every((talk) => talk.isThrough), loop.now + PATIENCE);
    // What is left to be done: connections that come back, a link that drains.
    loop.run(() => false, loop.now + AFTERWARDS);
    this.#check();
    return {
      streams: count,
      resets: this.#talks.filter((talk) => talk.ends.some(({ hasReset }) => hasReset)).length,
      attached: this.#pair.attached,
      bytes: this.#talks.flatMap((talk) => talk.ends).reduce((sum, { received }) => sum + received, 0),
    };
  }

  /** A stream without a lane that waits for a connection is given up when none can be made for five seconds. */
  get #failing(): number {
    if (this.#trouble.hasNoOthers === true) return 1;
    if (this.#trouble.withoutLanes === true) return this.#loop.isHurried ? 0 : 0.05;
    return [0, 0.05, 0.5, 1][this.#loop.below(4)]!;
  }

  #makeTrouble(): void {
    const { drains, losesControl, losesOthers = 0 } = this.#trouble;
    if (drains === true) this.#sometime(() => this.#drain());
    if (losesControl === true) this.#sometime(() => this.#pair.control.client.breakOff());
    for (let n = losesOthers; n > 0; n--) this.#sometime(() => this.#loseOne());
  }

  #drain(): void {
    const { client, server } = this.#pair;
    const who = this.#loop.below(5);
    if (who !== 0) client.drain();
    if (who < 3) server.drain();
  }

  #loseOne(): void {
    const others = this.#pair.wires.slice(1).filter(({ client }) => !client.destroyed);
    others[this.#loop.below(others.length)]?.client.breakOff();
  }

  /** Does something once, at a time by chance. */
  #sometime(act: () => void): void {
    let left = this.#loop.below([50, 500, 3000][this.#loop.below(3)]!);
    this.#due++;
    const actor: Actor = {
      step: () => {
        if (left-- > 0) return true;
        this.#loop.remove(actor);
        this.#due--;
        act();
        return true;
      },
    };
    this.#loop.add(actor);
  }

  #check(): void {
    const { losesControl, losesOthers = 0 } = this.#trouble;
    const mayLose = losesControl === true || losesOthers > 0;
    const harmed = this.#talks.filter((talk) => talk.isHarmed).length;
    const faults = [
      ...this.#pair.blames,
      ...this.#talks.flatMap((talk) => talk.faults(mayLose)),
      ...this.#leftOver(),
      ...(losesControl !== true && harmed > losesOthers ? [`${harmed} streams were lost with ${losesOthers} connections`] : []),
    ];
    if (faults.length > 0) throw new Error([...faults, ...this.#talks].join('\n'));
  }

  #leftOver(): string[] {
    const { client, server } = this.#pair;
    const { drains, losesControl } = this.#trouble;
    const isOver = drains === true || losesControl === true;
    const state = isOver ? 'closed' : 'up';
    const open = isOver ? 0 : client.warm + 1;
    const wrong: [string, unknown, unknown][] = [
      ['streams', [client.streams, server.streams], [0, 0]],
      ['descriptors due', client.descriptorsDue, 0],
      ['states', [client.state, server.state], [state, state]],
      ['ends of the link', this.#closes.length, isOver ? 2 : 0],
      ['connections', [client.connections, server.connections], [open, open]],
      ['connections that wait', server.idle, isOver ? 0 : open - 1],
    ];
    const faults = wrong
      .filter(([, is, shouldBe]) => String(is) !== String(shouldBe))
      .map(([what, is, shouldBe]) => `${what}: ${String(is)} instead of ${String(shouldBe)}`);
    // Who does not take the last word within a second hears the end of the connection only.
    const mayBeCut = losesControl === true || this.#loop.isHurried;
    const wasCut = !mayBeCut && this.#closes.some((close) => !close.includes('LINK_CLOSED'));
    return wasCut ? [...faults, ...this.#closes] : faults;
  }
}

const CHOICES = {
  capacities: [1_000, 20_000, 100_000, 1_000_000],
  // Some go slowly, and some never wait.
  holdings: [undefined, undefined, 0, 0.6],
};
/** Milliseconds that streams may take when nothing but time passes. */
const PATIENCE = 120_000;
/** And what is to be done after them. */
const AFTERWARDS = 10_000;
