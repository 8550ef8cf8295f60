import { mappingKey } from '../mapping.ts';
import type { AgentState, MappingState, Publisher } from '../publisher.ts';
import { History, type Sample } from './history.ts';

/** What moves, at one moment. */
export interface Moment {
  readonly at: Date;
  readonly mappings: readonly MovingMapping[];
  readonly agents: readonly AgentState[];
}

export interface MovingMapping {
  readonly state: MappingState;
  /** Bytes a second since the moment before. */
  readonly rateIn: number;
  readonly rateOut: number;
}

/**
 * Looks at the data plane every second, tells those who listen, and remembers an hour.
 *
 * Names in the history: `total`, a mapping's key, and `agent/` with an agent's name.
 */
export class LiveFeed {
  readonly history = new History({ length: SAMPLES, most: MOST_SERIES });
  readonly #publisher: Publisher;
  readonly #listeners = new Set<(moment: Moment) => void>();
  #before = new Map<string, MappingState>();
  #last: number;
  #moment: Moment;
  #timer: NodeJS.Timeout | null = null;
  /** Sums since the last sample. */
  #sums = new Map<string, { rateIn: number; rateOut: number }>();
  #ticks = 0;

  constructor(publisher: Publisher, now = Date.now()) {
    this.#publisher = publisher;
    this.#last = now;
    this.#moment = { at: new Date(now), mappings: [], agents: [] };
  }

  start(): void {
    this.tick(Date.now());
    this.#timer = setInterval(() => this.tick(Date.now()), TICK_MS).unref();
  }

  /** The latest. */
  get moment(): Moment {
    return this.#moment;
  }

  /** @returns what ends it. */
  listen(listener: (moment: Moment) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks, at a time in milliseconds since 1970. */
  tick(now: number): void {
    const seconds = Math.max(0.001, (now - this.#last) / 1000);
    const states = this.#publisher.mappings();
    const mappings = states.map((state) => movingFrom(state, this.#before.get(mappingKey(state.mapping)), seconds));
    this.#before = new Map(states.map((state) => [mappingKey(state.mapping), state]));
    this.#last = now;
    this.#moment = { at: new Date(now), mappings, agents: this.#publisher.agents() };
    this.#sum();
    if (++this.#ticks % TICKS_PER_SAMPLE === 0) this.#sample(now);
    for (const listener of this.#listeners) listener(this.#moment);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #sum(): void {
    for (const { state, rateIn, rateOut } of this.#moment.mappings) {
      const key = mappingKey(state.mapping);
      const sum = this.#sums.get(key) ?? { rateIn: 0, rateOut: 0 };
      this.#sums.set(key, { rateIn: sum.rateIn + rateIn, rateOut: sum.rateOut + rateOut });
    }
  }

  #sample(now: number): void {
    const samples = new Map<string, Sample>();
    const total = { connections: 0, rateIn: 0, rateOut: 0 };
    samples.set('total', total);
    for (const { state } of this.#moment.mappings) {
      const key = mappingKey(state.mapping);
      const { rateIn = 0, rateOut = 0 } = this.#sums.get(key) ?? {};
      const sample = { connections: state.connections, rateIn: rateIn / TICKS_PER_SAMPLE, rateOut: rateOut / TICKS_PER_SAMPLE };
      samples.set(key, sample);
      total.connections += sample.connections;
      total.rateIn += sample.rateIn;
      total.rateOut += sample.rateOut;
    }
    for (const { name, rtt, loss, connections } of this.#moment.agents) samples.set(`agent/${name}`, { rtt, loss, connections });
    this.#sums = new Map();
    this.history.add(now, samples);
  }
}

function movingFrom(state: MappingState, before: MappingState | undefined, seconds: number): MovingMapping {
  // One that was removed and made again begins anew.
  const since = before !== undefined && state.bytesIn >= before.bytesIn && state.bytesOut >= before.bytesOut ? before : undefined;
  return {
    state,
    rateIn: (state.bytesIn - (since?.bytesIn ?? 0)) / seconds,
    rateOut: (state.bytesOut - (since?.bytesOut ?? 0)) / seconds,
  };
}

const TICK_MS = 1_000;
const TICKS_PER_SAMPLE = 10;
/** An hour. */
const SAMPLES = 360;
/** Each takes 9 KB. */
const MOST_SERIES = 1_200;
