import type { BlockPool } from './block-pool.ts';
import { DeliveryClock } from './delivery-clock.ts';
import { LossCount } from './loss-count.ts';
import { MAX_DELAY, type Report } from './report.ts';

/**
 * What was sent and not yet acknowledged. Shards are numbered one after another, those of one block consecutively; a shard that is lost is sent again under
 * its own number, from the packet that is kept until all of its shards have come.
 *
 *     add ──▶ flying ── report: it has come ─────────────▶ done
 *               ▲  └─── report: later ones have come ──▶ lost ── takeLost ──┐
 *               └───────────────────────────────────────────────────────────┘
 *
 * Loss is told by time as in RACK (RFC 8985): a shard that one sent later has overtaken is lost when it has not come within that one's round-trip time and as much
 * more as reordering explains.
 */
export class Flight {
  readonly losses = new LossCount();
  readonly #pool: BlockPool;
  #capacity = FIRST_CAPACITY;
  #state = new Uint8Array(FIRST_CAPACITY);
  #transmissions = new Uint8Array(FIRST_CAPACITY);
  #index = new Uint8Array(FIRST_CAPACITY);
  #size = new Uint16Array(FIRST_CAPACITY);
  #sentAt = new Float64Array(FIRST_CAPACITY);
  /** As they were when the shard was sent: bytes that had come, when by the peer's clock, and when the first of that flight had been sent. */
  #deliveredThen = new Float64Array(FIRST_CAPACITY);
  #clockThen = new Float64Array(FIRST_CAPACITY);
  #flightBeganThen = new Float64Array(FIRST_CAPACITY);
  #limitedThen = new Uint8Array(FIRST_CAPACITY);
  /** By the number of their first shard. */
  readonly #packets = new Map<number, KeptPacket>();
  /** Shards that wait to be sent again; there is none below `#lowestLost`. */
  #toResend = 0;
  #lowestLost = 0;
  #oldest = 0;
  #next = 0;
  #bytes = 0;
  /** Bytes that are known to have come. */
  #delivered = 0;
  readonly #clock = new DeliveryClock();
  #flightBegan = 0;
  #leastRtt = Infinity;
  /** Shards that fly for the second time or more. */
  #repeated = 0;
  /** The shard sent last of those that have come: its number, when it was sent, and how long it took until this side knew. */
  #newest = -1;
  #newestSentAt = -Infinity;
  #newestRtt = 0;
  #reordering = 0;
  #overtakenUntil = Infinity;
  /** Bytes found lost since the last report. */
  #lostSince = 0;
  /** Up to this many delivered bytes, the application and not the path set the pace. */
  #limitedUntil = 0;
  #progressAt = 0;

  constructor(pool: BlockPool) {
    this.#pool = pool;
  }

  /** Bytes on their way, headers included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Shards that may still come late or be sent again. */
  get shards(): number {
    return this.#next - this.#oldest;
  }

  /** The number of the next shard. */
  get next(): number {
    return this.#next;
  }

  /** Shards below it have come or were given up. */
  get oldest(): number {
    return this.#oldest;
  }

  get hasLost(): boolean {
    return this.#toResend > 0;
  }

  /** When the first of those overtaken counts as lost unless it comes before; Infinity when there is none. */
  get overtakenUntil(): number {
    return this.#overtakenUntil;
  }

  /** Bytes that have come in all. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Whether a shard that was sent may still have to be sent again. */
  isMissing(shard: number): boolean {
    return shard >= this.#oldest && this.#state[shard & (this.#capacity - 1)] !== DONE;
  }

  /** When something was last sent or heard of: what a probe timeout is counted from. */
  get progressAt(): number {
    return this.#progressAt;
  }

  /** Takes in a block of `count` shards that is being sent; Its datagrams have `full` bytes, the last one `last`. `packet` is kept until it has come. */
  add(packet: KeptPacket, full: number, last: number, now: number): void {
    const { count } = packet;
    this.#reserve(count);
    this.#packets.set(this.#next, packet);
    for (let index = 0; index < count; index++) {
      const at = (this.#next + index) & (this.#capacity - 1);
      this.#index[at] = index;
      this.#transmissions[at] = 0;
      this.#size[at] = index === count - 1 ? last : full;
      this.#launch(at, now);
    }
    this.#next += count;
  }

  /**
   * The lowest shard to be sent again, which counts as sent with that; null when there is none. The lowest, because everything waits for it, and because a
   * report has room for the first holes only: what fills a later one would not be told of.
   */
  takeLost(now: number): { packet: KeptPacket; first: number; index: number } | null {
    if (this.#toResend === 0) return null;
    for (let shard = Math.max(this.#lowestLost, this.#oldest); shard < this.#next; shard++) {
      const at = shard & (this.#capacity - 1);
      if (this.#state[at] !== LOST) continue;
      this.#lowestLost = shard + 1;
      this.#toResend--;
      const index = this.#index[at]!;
      this.#launch(at, now);
      return { packet: this.#packets.get(shard - index)!, first: shard - index, index };
    }
    return null;
  }

  /** The application had no more to send although there was room. */
  handleIdle(): void {
    // What waits to be sent again is not among those bytes, and belongs to what was limited before.
    this.#limitedUntil = Math.max(this.#limitedUntil, this.#delivered + this.#bytes + 1);
  }

  /**
   * Takes a report in. `reordering` is how many ms late a shard may be. What it says of shards that were never sent says nothing: forged ones may have come.
   */
  handleReport(report: Report, now: number, reordering: number): Outcome {
    const outcome: Outcome = { rtt: Number.NaN, rate: Number.NaN, limited: false, delivered: 0, deliveredThen: -1, lost: 0 };
    const before = this.#delivered;
    const isInOrder = report.ranges.length === 0 && this.#repeated === 0;
    this.#clock.handleReport(report.clock, now);
    const newest = this.#acknowledge(report, now, outcome);
    outcome.delivered = this.#delivered - before;
    if (newest >= 0) {
      this.#progressAt = now;
      this.#sample(newest, now, outcome);
    }
    while (this.#oldest < this.#next && this.#state[this.#oldest & (this.#capacity - 1)] === DONE) this.#oldest++;
    this.#reordering = reordering;
    this.#overtakenUntil = Infinity;
    outcome.lost = this.#lostSince + (isInOrder ? 0 : this.#findLost(now));
    this.#lostSince = 0;
    return outcome;
  }

  /** Finds those lost whose time is up. */
  handleOvertaken(now: number): void {
    if (now >= this.#overtakenUntil) this.#lostSince += this.#findLost(now - REPORT_SLACK + TICK);
  }

  /** Nothing was heard for long: the oldest shard that flies counts as lost, so that it is sent again and the answer tells of the others. */
  handleSilence(now: number): void {
    this.#progressAt = now;
    for (let shard = this.#oldest; shard < this.#next; shard++) {
      const at = shard & (this.#capacity - 1);
      if (this.#state[at] !== FLYING) continue;
      this.#lose(shard, at);
      return;
    }
  }

  /** None of what is under way will be sent again. */
  giveUp(): void {
    for (let shard = this.#oldest; shard < this.#next; shard++) this.#state[shard & (this.#capacity - 1)] = DONE;
    this.#oldest = this.#next;
    this.#bytes = 0;
    this.#repeated = 0;
    this.close();
  }

  /** Gives everything up; the connection has ended. */
  close(): void {
    for (const packet of this.#packets.values()) this.#pool.give(packet.bytes);
    this.#packets.clear();
    this.#toResend = 0;
  }

  #launch(at: number, now: number): void {
    if (this.#bytes === 0) {
      this.#clock.goOn(now);
      this.#flightBegan = now;
      this.#progressAt = now;
    }
    this.#state[at] = FLYING;
    const transmissions = this.#transmissions[at]!;
    if (transmissions > 0) this.#repeated++;
    this.#transmissions[at] = Math.min(transmissions + 1, 255);
    this.#sentAt[at] = now;
    this.#deliveredThen[at] = this.#delivered;
    this.#clockThen[at] = this.#clock.time;
    this.#flightBeganThen[at] = this.#flightBegan;
    // What is sent again is as little as there was to send the first time.
    const wasLimited = transmissions > 0 && this.#limitedThen[at] === 1;
    this.#limitedThen[at] = wasLimited || this.#delivered < this.#limitedUntil ? 1 : 0;
    this.#bytes += this.#size[at]!;
    this.losses.handleSent();
  }

  /** Returns the newest shard that this report is the first to tell of, or -1. */
  #acknowledge(report: Report, now: number, outcome: Outcome): number {
    let newest = -1;
    const acknowledge = (from: number, to: number): void => {
      for (let shard = Math.max(from, this.#oldest); shard < Math.min(to, this.#next); shard++) {
        const at = shard & (this.#capacity - 1);
        const state = this.#state[at];
        if (state === DONE) continue;
        const age = now - this.#sentAt[at]!;
        const isFirst = this.#transmissions[at] === 1;
        if (state === FLYING) this.#bytes -= this.#size[at]!;
        if (state === FLYING && !isFirst) this.#repeated--;
        if (state === LOST) this.#toResend--;
        this.#delivered += this.#size[at]!;
        this.#state[at] = DONE;
        if (shard === report.latest && isFirst && report.delay < MAX_DELAY) outcome.rtt = Math.max(0, age - report.delay);
        // An answer that comes sooner than any can is to an earlier transmission, of which nothing is known any more.
        if (isFirst || age >= this.#leastRtt || this.#leastRtt === Infinity) {
          if (newest < 0 || this.#sentAt[at]! >= this.#sentAt[newest & (this.#capacity - 1)]!) newest = shard;
        }
        this.#finishShard(shard, at);
      }
    };
    acknowledge(this.#oldest, report.cumulative);
    let at = report.cumulative;
    for (let i = 0; i + 1 < report.ranges.length; i += 2) {
      const run = at + report.ranges[i]!;
      at = run + report.ranges[i + 1]!;
      acknowledge(run, at);
    }
    if (outcome.rtt < this.#leastRtt) this.#leastRtt = outcome.rtt;
    return newest;
  }

  /** The rate at which bytes came while this shard was on its way (draft-cheng-iccrg-delivery-rate-estimation). */
  #sample(newest: number, now: number, outcome: Outcome): void {
    const at = newest & (this.#capacity - 1);
    const sentAt = this.#sentAt[at]!;
    if (sentAt >= this.#newestSentAt) {
      this.#newest = newest;
      this.#newestSentAt = sentAt;
      this.#newestRtt = now - sentAt;
    }
    outcome.deliveredThen = this.#deliveredThen[at]!;
    outcome.limited = this.#limitedThen[at] === 1;
    const sending = sentAt - this.#flightBeganThen[at]!;
    const coming = this.#clock.time - this.#clockThen[at]!;
    const interval = Math.max(sending, coming);
    this.#flightBegan = sentAt;
    if (interval > 0) outcome.rate = (this.#delivered - this.#deliveredThen[at]!) / interval;
  }

  #findLost(now: number): number {
    let lost = 0;
    this.#overtakenUntil = Infinity;
    for (let shard = this.#oldest; shard < this.#next; shard++) {
      const at = shard & (this.#capacity - 1);
      const sentAt = this.#sentAt[at]!;
      if (this.#state[at] !== FLYING || sentAt > this.#newestSentAt) continue;
      if (sentAt === this.#newestSentAt && shard > this.#newest) continue;
      const until = sentAt + this.#newestRtt + this.#reordering;
      if (now <= until) this.#overtakenUntil = Math.min(this.#overtakenUntil, until + REPORT_SLACK);
      else {
        lost += this.#size[at]!;
        this.#lose(shard, at);
      }
    }
    return lost;
  }

  #lose(shard: number, at: number): void {
    if (this.#transmissions[at]! > 1) this.#repeated--;
    this.#state[at] = LOST;
    this.#bytes -= this.#size[at]!;
    this.losses.handleLost(shard);
    this.#toResend++;
    if (shard < this.#lowestLost) this.#lowestLost = shard;
  }

  #finishShard(shard: number, at: number): void {
    const first = shard - this.#index[at]!;
    const packet = this.#packets.get(first)!;
    if (--packet.missing > 0) return;
    this.#packets.delete(first);
    this.#pool.give(packet.bytes);
  }

  #reserve(count: number): void {
    if (this.shards + count <= this.#capacity) return;
    const from = this.#capacity;
    this.#capacity *= 2;
    const move = <T extends Uint8Array | Uint16Array | Float64Array>(old: T, grown: T): T => {
      for (let shard = this.#oldest; shard < this.#next; shard++) grown[shard & (this.#capacity - 1)] = old[shard & (from - 1)]!;
      return grown;
    };
    this.#state = move(this.#state, new Uint8Array(this.#capacity));
    this.#transmissions = move(this.#transmissions, new Uint8Array(this.#capacity));
    this.#index = move(this.#index, new Uint8Array(this.#capacity));
    this.#size = move(this.#size, new Uint16Array(this.#capacity));
    this.#sentAt = move(this.#sentAt, new Float64Array(this.#capacity));
    this.#deliveredThen = move(this.#deliveredThen, new Float64Array(this.#capacity));
    this.#clockThen = move(this.#clockThen, new Float64Array(this.#capacity));
    this.#flightBeganThen = move(this.#flightBeganThen, new Float64Array(this.#capacity));
    this.#limitedThen = move(this.#limitedThen, new Uint8Array(this.#capacity));
  }
}

/** A packet that may have to be sent again, in part. */
export interface KeptPacket {
  /** From the pool. */
  readonly bytes: Uint8Array;
  readonly length: number;
  /** Of shards. */
  readonly count: number;
  /** Bytes in each shard but the last. */
  readonly share: number;
  /** Shards that are not known to have come. */
  missing: number;
}

/** What a report brought. */
export interface Outcome {
  /** Milliseconds; NaN when it tells of none. */
  rtt: number;
  /** Bytes a millisecond at which shards came lately; NaN when it does not tell. */
  rate: number;
  /** Whether the application and not the path set that rate. */
  limited: boolean;
  /** Bytes that have come since the last report. */
  delivered: number;
  /** Bytes that had come in all when the newest of these was sent, which tells one round trip from the next; -1 when none is new. */
  deliveredThen: number;
  /** Bytes found lost. */
  lost: number;
}

const DONE = 0;
const FLYING = 1;
const LOST = 2;
/** A power of two, as all capacities. */
const FIRST_CAPACITY = 256;
/** Milliseconds from a shard's coming to the report of it (delivery.ts), which may be on its way when the timer fires. */
const REPORT_SLACK = 4;
const TICK = 1;
