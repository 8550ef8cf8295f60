/** How many shards were sent and lost, in all and of late. */
export class LossCount {
  #sent = 0;
  #lost = 0;
  /** Runs of consecutive numbers among them, and the last of the latest. */
  #bursts = 0;
  #lastLost = -2;
  /** Sums in which what was before weighs less and less. */
  #recentLost = 0;
  #recentSent = RECENT;

  /** Shards sent, those sent again included, shards found lost, and in how many runs of consecutive numbers. */
  get counts(): { sent: number; lost: number; bursts: number } {
    return { sent: this.#sent, lost: this.#lost, bursts: this.#bursts };
  }

  /** The share of shards that were lost of late, from 0 to 1. */
  get rate(): number {
    return this.#recentLost / this.#recentSent;
  }

  handleSent(): void {
    this.#sent++;
    this.#recentSent++;
    if (this.#recentSent > 2 * RECENT) {
      this.#recentSent /= 2;
      this.#recentLost /= 2;
    }
  }

  handleLost(shard: number): void {
    this.#lost++;
    if (shard !== this.#lastLost + 1) this.#bursts++;
    this.#lastLost = shard;
    this.#recentLost++;
  }

  /** So many shards more were lost and brought back by parity. */
  handleRestored(shards: number): void {
    this.#recentLost += shards;
  }
}

/** Shards that the rate looks back on, at least. */
const RECENT = 1_000;
