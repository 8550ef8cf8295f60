/**
 * How many shards the next block should have. quiche's cost is for each packet, not for each byte (docs/MEASURED.md), so on a fast clean path
 * packets are large; but a block is lost when one of its shards is, and a large one takes long to go out on a slow path.
 */
export class BlockSize {
  readonly #maximum: number;
  #shards = 1;
  #sent = 0;
  #lost = 0;
  /** Shards sent and lost of late: sums in which what was before weighs less and less. */
  #recentSent = BENEFIT_OF_DOUBT;
  #recentLost = 0;

  /** `maximum` is what both sides and the packet size allow. */
  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  get shards(): number {
    return this.#shards;
  }

  /**
   * Takes in what quiche says of the path: round trip in milliseconds, congestion window in bytes, packets sent and lost in all. `payload` is what one shard
   * carries. To be called at a steady pace.
   */
  handlePath(path: { rtt: number; cwnd: number; sent: number; lost: number }, payload: number): void {
    // A packet that is lost has most likely lost one shard.
    this.#recentSent = Math.max(this.#recentSent * KEPT + risen(this.#sent, path.sent) * this.#shards, BENEFIT_OF_DOUBT);
    this.#recentLost = this.#recentLost * KEPT + risen(this.#lost, path.lost);
    this.#sent = path.sent;
    this.#lost = path.lost;
    const perMillisecond = path.cwnd / Math.max(path.rtt, MIN_RTT);
    const byRate = (perMillisecond * MAX_DURATION) / payload;
    const byLoss = (TOLERABLE_LOSS * this.#recentSent) / this.#recentLost;
    const shards = Math.floor(Math.min(this.#maximum, byRate, byLoss));
    // Not Math.max, for which a figure that is no number would be the largest.
    this.#shards = shards >= 1 ? shards : 1;
  }
}

/** How much a counter has risen; a counter that began again has not. */
function risen(before: number, now: number): number {
  const more = now - before;
  return more > 0 ? more : 0;
}

/** Milliseconds that a block may take to go out. */
const MAX_DURATION = 1;
/** Milliseconds: below it the round trip is the machine's own doing. */
const MIN_RTT = 0.2;
/** The share of blocks that may be lost before they become smaller. */
const TOLERABLE_LOSS = 0.02;
/** How much the past weighs at the next look. At a look every 20 ms, half of it is gone after 0.7 s. */
const KEPT = 0.98;
/** Shards: without it, one loss at the beginning would say more than it knows. */
const BENEFIT_OF_DOUBT = 2_000;
