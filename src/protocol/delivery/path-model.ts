import type { Outcome } from './flight.ts';

/**
 * How fast and how much may be sent, from what reports tell: a model of the path by its two limits, the rate at which it delivers and its round trip without
 * a queue (BBR: Cardwell et al., ACM Queue 2016; draft-cardwell-iccrg-bbr-congestion-control). Loss is not taken for congestion: what is lost is sent
 * again below QUIC, and the delivery rate knows what is too much.
 *
 *     startup ── the rate no longer rises ──▶ drain ── the queue is gone ──▶ probe bandwidth ◀── 200 ms ──▶ probe rtt
 */
export class PathModel {
  readonly #initial: number;
  readonly #minimum: number;
  #phase: Phase = 'startup';
  readonly #rates = new RecentMaximum(RATE_ROUNDS);
  #leastRtt = Infinity;
  #leastRttAt = 0;
  #smoothedRtt = 0;
  #rttVariation = 0;
  #round = 0;
  #roundEnds = 0;
  #roundBegan = false;
  #fullRate = 0;
  #fullRounds = 0;
  #overflows = 0;
  #roundDelivered = 0;
  #roundLost = 0;
  #shortFloor = SHORT_WINDOW;
  #roundSamples = 0;
  /** The least of the round so far. */
  #roundRtt = Infinity;
  #cycle = 0;
  #cycleAt = 0;
  #rateBefore = 0;
  #probeRttUntil = 0;
  #probedRtt = Infinity;
  #window: number;

  /** `datagram` is the size of a full one in bytes; `rtt` is what is known of the round trip, in milliseconds. */
  constructor(datagram: number, rtt: number, now: number) {
    this.#initial = INITIAL_WINDOW * datagram;
    this.#window = this.#initial;
    this.#minimum = MINIMUM_WINDOW * datagram;
    this.#smoothedRtt = rtt;
    this.#rttVariation = rtt / 2;
    this.#leastRttAt = now;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Bytes that may be on their way at once. */
  get window(): number {
    return this.#window;
  }

  /** The path's rate in bytes a millisecond; 0 until something has come. */
  get rate(): number {
    return this.#rates.value;
  }

  /** Bytes that the path holds without a queue; 0 until that is known. */
  get product(): number {
    return this.#leastRtt < Infinity ? this.#rates.value * this.#leastRtt : 0;
  }

  /** Bytes a millisecond to send at. Infinity on a path so short that no timer could keep the pace. */
  get pacingRate(): number {
    if (this.#leastRtt < SHORTEST_PACED) return Infinity;
    const rate = Math.max(this.#gain() * this.#rates.value * PACING_MARGIN, LEAST_RATE);
    // What little there was to send before says nothing of what the path takes.
    return this.#phase === 'startup' ? Math.max(rate, (STARTUP_GAIN * this.#initial) / Math.max(this.#smoothedRtt, 1)) : rate;
  }

  /** Milliseconds. */
  get smoothedRtt(): number {
    return this.#smoothedRtt;
  }

  /** Milliseconds; Infinity before the first report. */
  get leastRtt(): number {
    return this.#leastRtt;
  }

  /** Milliseconds that a shard may be overtaken by before it counts as lost. */
  get reordering(): number {
    return Math.min(Math.max(this.#smoothedRtt / 4, LEAST_REORDERING), MOST_REORDERING);
  }

  /** Milliseconds of silence after which something is sent again. */
  get silence(): number {
    return Math.max(this.#smoothedRtt + 4 * this.#rttVariation + SILENCE_SLACK, LEAST_SILENCE);
  }

  /** Takes in what a report brought; `delivered` is the bytes that have come in all, `inFlight` those that are still on their way. */
  handleReport(outcome: Outcome, delivered: number, inFlight: number, now: number): void {
    this.#roundDelivered += outcome.delivered;
    this.#roundLost += outcome.lost;
    this.#takeRound(outcome, delivered);
    this.#takeRtt(outcome.rtt, now);
    const isNews = outcome.rate > 0 && (!outcome.limited || outcome.rate >= this.#rates.value);
    if (isNews) this.#rates.add(outcome.rate, this.#round);
    if (this.#phase === 'startup' && this.#roundBegan) this.#lookForFull(outcome.limited);
    if (this.#roundBegan) this.#beginRound();
    this.#move(inFlight, now);
    this.#resize(outcome.delivered);
  }

  #beginRound(): void {
    const isLossy = this.#roundLost > SHORT_LOSS * (this.#roundLost + this.#roundDelivered);
    this.#shortFloor = isLossy
      ? Math.max(this.#shortFloor / 2, this.#minimum)
      : Math.min(this.#shortFloor * SHORT_GROWTH, SHORT_WINDOW);
    this.#roundDelivered = this.#roundLost = this.#roundSamples = 0;
    this.#roundRtt = Infinity;
  }

  #takeRound({ deliveredThen }: Outcome, delivered: number): void {
    this.#roundBegan = deliveredThen >= this.#roundEnds;
    if (!this.#roundBegan) return;
    this.#round++;
    this.#roundEnds = delivered;
  }

  #takeRtt(rtt: number, now: number): void {
    if (Number.isNaN(rtt)) return;
    this.#rttVariation += (Math.abs(rtt - this.#smoothedRtt) - this.#rttVariation) / 4;
    this.#smoothedRtt += (rtt - this.#smoothedRtt) / 8;
    this.#roundSamples++;
    this.#roundRtt = Math.min(this.#roundRtt, rtt);
    if (this.#phase === 'probe rtt') this.#probedRtt = Math.min(this.#probedRtt, rtt);
    if (rtt > this.#leastRtt) return;
    this.#leastRtt = rtt;
    this.#leastRttAt = now;
  }

  #lookForFull(isLimited: boolean): void {
    if (this.#hasOverflown(isLimited)) this.#fullRounds = FULL_ROUNDS;
    // A queue that grows (HyStart++, RFC 9406): what was sent since will lengthen it by as much again.
    const longer = Math.min(Math.max(this.#leastRtt / 8, LEAST_RISE), MOST_RISE);
    if (this.#roundSamples >= ENOUGH_SAMPLES && this.#roundRtt > this.#leastRtt + longer) this.#fullRounds = FULL_ROUNDS;
    if (isLimited) return;
    if (this.#rates.value >= this.#fullRate * FULL_GROWTH) {
      this.#fullRate = this.#rates.value;
      this.#fullRounds = 0;
    } else this.#fullRounds++;
  }

  /** A queue has overflown: no path loses as much by itself and is worth starting up on. Of a few datagrams a burst of loss may take as many, but seldom twice. */
  #hasOverflown(isLimited: boolean): boolean {
    const isMuch = this.#roundLost > this.#minimum && this.#roundLost > OVERFLOW * (this.#roundLost + this.#roundDelivered);
    if (isMuch) this.#overflows++;
    else if (this.#roundLost === 0 && this.#roundDelivered > this.#minimum) this.#overflows = 0;
    return isMuch && (!isLimited || this.#overflows > 1);
  }

  #move(inFlight: number, now: number): void {
    if (this.#phase === 'startup' && this.#fullRounds >= FULL_ROUNDS) this.#phase = 'drain';
    if (this.#phase === 'drain' && inFlight <= this.product) this.#probeBandwidth(now);
    if (this.#phase === 'probe bandwidth') this.#turnCycle(inFlight, now);
    const isOld = now - this.#leastRttAt > RTT_WINDOW;
    if (isOld && this.#phase !== 'probe rtt' && this.#phase !== 'startup') {
      this.#phase = 'probe rtt';
      this.#probeRttUntil = now + PROBE_RTT + this.#smoothedRtt;
      this.#probedRtt = Infinity;
    }
    if (this.#phase === 'probe rtt' && now >= this.#probeRttUntil) {
      // Shards that are sent again tell of no round trip; when all are, the one that is known holds on.
      const probed = this.#probedRtt < Infinity ? this.#probedRtt : this.#leastRtt;
      // With a round trip that is too short the window was, and so the rate that was seen in it.
      const isOther = probed > 2 * this.#leastRtt;
      this.#leastRtt = probed;
      this.#leastRttAt = now;
      if (isOther) this.#startUp();
      else this.#probeBandwidth(now);
    }
  }

  #probeBandwidth(now: number): void {
    this.#phase = 'probe bandwidth';
    this.#cycle = CRUISE;
    this.#cycleAt = now;
  }

  #turnCycle(inFlight: number, now: number): void {
    const gain = GAINS[this.#cycle]!;
    const isOver = now - this.#cycleAt >= this.#leastRtt;
    const isDone =
      gain > 1 ? isOver && inFlight >= gain * this.product * 0.9 : gain < 1 ? isOver || inFlight <= this.product : isOver;
    // A rate that the window, the application or a loss keeps from filling the pipe is not waited for.
    if (!isDone && now - this.#cycleAt < 4 * this.#leastRtt) return;
    if (gain > 1 && this.#rates.value >= FULL_GROWTH * this.#rateBefore * 0.95) return this.#startUp();
    this.#cycle = (this.#cycle + 1) % GAINS.length;
    this.#cycleAt = now;
    this.#rateBefore = this.#rates.value;
  }

  /** There is much more than was known: the path has changed, or there was never enough to send to find out. */
  #startUp(): void {
    this.#phase = 'startup';
    this.#fullRounds = this.#overflows = 0;
    this.#fullRate = this.#rates.value;
  }

  #gain(): number {
    if (this.#phase === 'startup') return STARTUP_GAIN;
    if (this.#phase === 'drain') return 1 / STARTUP_GAIN;
    return this.#phase === 'probe rtt' ? 1 : GAINS[this.#cycle]!;
  }

  #resize(delivered: number): void {
    if (this.#phase === 'probe rtt') {
      this.#window = Math.max(Math.min(this.product, MAXIMUM_WINDOW) / 2, this.#minimum);
      return;
    }
    const target = WINDOW_GAIN * this.product + this.#rates.value * REPORT_SLACK;
    const least = this.#leastRtt < SHORTEST_PACED ? this.#shortFloor : this.#minimum;
    const bounded = Math.min(Math.max(target, least), MAXIMUM_WINDOW);
    if (this.#phase === 'startup') this.#window = Math.max(this.#window, bounded);
    else this.#window = Math.min(this.#window + delivered, bounded);
  }
}

export type Phase = 'startup' | 'drain' | 'probe bandwidth' | 'probe rtt';

/** The largest value of the last so many rounds (Nichols' windowed filter, kept plainly: a maximum a round). */
class RecentMaximum {
  readonly #values: Float64Array;
  #round = 0;
  #value = 0;

  constructor(rounds: number) {
    this.#values = new Float64Array(rounds);
  }

  get value(): number {
    return this.#value;
  }

  add(value: number, round: number): void {
    const size = this.#values.length;
    if (round - this.#round >= size) this.#values.fill(0);
    else for (let passed = this.#round + 1; passed <= round; passed++) this.#values[passed % size] = 0;
    const isNew = round > this.#round;
    this.#round = Math.max(round, this.#round);
    const at = this.#round % size;
    this.#values[at] = Math.max(this.#values[at]!, value);
    this.#value = isNew ? Math.max(...this.#values) : Math.max(this.#value, value);
  }
}

const RATE_ROUNDS = 10;
/** 2 / ln 2 fills the pipe as fast as doubling each round trip can. */
const STARTUP_GAIN = 2.885;
const WINDOW_GAIN = 2;
const GAINS = [1.25, 0.75, 1, 1, 1, 1, 1, 1];
const CRUISE = 2;
/** A little below the rate, so that a queue that has formed goes away. */
const PACING_MARGIN = 0.99;
/** Bytes a millisecond: without a rate, or with one that an outage has left, the path could not be found out about any more. */
const LEAST_RATE = 4;
const FULL_GROWTH = 1.25;
const FULL_ROUNDS = 3;
/** Milliseconds by which the least round trip of a round, of so many samples, may be longer than the least of all. */
const LEAST_RISE = 4;
const MOST_RISE = 16;
const ENOUGH_SAMPLES = 8;
/** The share of bytes that are lost in one round trip. */
const OVERFLOW = 0.2;
/** Milliseconds after which the least round trip is measured anew, and how long that takes. */
const RTT_WINDOW = 10_000;
const PROBE_RTT = 200;
/** Datagrams. */
const INITIAL_WINDOW = 64;
const MINIMUM_WINDOW = 8;
/** Bytes. */
const MAXIMUM_WINDOW = 32 << 20;
/** Milliseconds that reports and turns take at most on top of the path's round trip; what comes in that time is on its way as well. */
const REPORT_SLACK = 4;
/** Milliseconds. */
const SHORTEST_PACED = 2;
/**
 * On a path shorter than that it is the machines that take time, not the path: rate and round trip say little, so that this many bytes may be on their way as long
 * as fewer than this share of them are lost.
 */
const SHORT_WINDOW = 1024 * 1024;
const SHORT_LOSS = 0.02;
const SHORT_GROWTH = 1.05;
const LEAST_REORDERING = 1;
const MOST_REORDERING = 20;
const SILENCE_SLACK = 10;
const LEAST_SILENCE = 25;
