import type { Fec } from '../fec.ts';
import type { Flight } from './flight.ts';
import { LossPattern, MOST_DATA, MOST_PARITY } from './loss-pattern.ts';
import type { PathModel } from './path-model.ts';
import type { Report } from './report.ts';

/** How much parity there is, and when. */
export interface ParityPolicy {
  /** Data shards of a full group. */
  readonly data: number;
  /** Parity shards of a group at most. */
  readonly parity: number;
  /** Data shards that a group must have to get parity, unless the application has paused behind it. */
  readonly least: number;
  /** Milliseconds that a group may be open for. */
  readonly duration: number;
  /** Whether the next shard, of so many bytes, is to get parity. */
  takes(size: number): boolean;
  /** Parity shards for a group of `k` data shards. */
  parityFor(k: number): number;
  /** Nothing was to be sent although the path had room. */
  handleIdle(): void;
  handleReport(report: Report): void;
}

export function parityPolicy(fec: Exclude<Fec, 'off'>, flight: Flight, model: PathModel): ParityPolicy {
  return fec === 'auto' ? new AutoParity(flight, model) : new FixedParity(fec.data, fec.parity);
}

/** So many for each so many, whatever the path does. */
class FixedParity implements ParityPolicy {
  readonly data: number;
  readonly parity: number;
  readonly least = 1;
  readonly duration = Infinity;

  constructor(data: number, parity: number) {
    this.data = data;
    this.parity = parity;
  }

  takes(): boolean {
    return true;
  }

  parityFor(k: number): number {
    return Math.min(this.parity, k);
  }

  handleIdle(): void {}

  handleReport(): void {}
}

/**
 * Parity where it costs nothing: while it is the application and not the path that sets the pace. What fills the path has no use for it, because what is lost
 * is sent again anyway, and one shard that is sent again costs less than the parity of all; what waits for an answer saves a round trip.
 */
class AutoParity implements ParityPolicy {
  readonly data = MOST_DATA;
  readonly parity = MOST_PARITY;
  readonly least = LEAST_DATA;
  readonly #flight: Flight;
  readonly #model: PathModel;
  readonly #pattern = new LossPattern();
  /** Bytes since the path had room and there was nothing to send. */
  #sentInARow = 0;
  #before = { sent: 0, lost: 0, bursts: 0 };
  #restored = 0;
  #restoredBursts = 0;

  constructor(flight: Flight, model: PathModel) {
    this.#flight = flight;
    this.#model = model;
  }

  /** What comes later than RACK's window is sent again already. */
  get duration(): number {
    return this.#model.reordering;
  }

  takes(size: number): boolean {
    this.#sentInARow += size;
    const { leastRtt, product, window } = this.#model;
    if (this.#pattern.rate < LEAST_LOSS || leastRtt < LEAST_RTT || leastRtt === Infinity) return false;
    return this.#sentInARow < Math.max(product, SHORT) && this.#flight.bytes < FULL * window;
  }

  parityFor(k: number): number {
    return this.#pattern.parityFor(k);
  }

  handleIdle(): void {
    this.#sentInARow = 0;
  }

  handleReport({ restored, bursts }: Report): void {
    const now = this.#flight.losses.counts;
    const more = (restored - this.#restored) & 0xffff;
    const moreBursts = (bursts - this.#restoredBursts) & 0xffff;
    this.#restored = restored;
    this.#restoredBursts = bursts;
    this.#flight.losses.handleRestored(more);
    const before = this.#before;
    this.#before = now;
    this.#pattern.add(now.sent - before.sent, now.lost - before.lost + more, now.bursts - before.bursts + moreBursts);
  }
}

/** The share of shards lost below which parity is not worth its bytes: with 24 shards a group, one group in twenty. */
const LEAST_LOSS = 0.002;
/** Milliseconds: on a shorter path sending again is as fast. */
const LEAST_RTT = 5;
/** Bytes in a row that do not fill any path for long. */
const SHORT = 64 * 1350;
/** The share of the window that is under way when the path is full. */
const FULL = 0.75;
/** With fewer in RACK's window the path is so slow that parity takes the place of data. */
const LEAST_DATA = 8;
