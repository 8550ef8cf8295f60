/**
 * What is lost of late on a path: which share of shards, and in bursts of what length (Gilbert's model). The past weighs less and less.
 */
export class LossPattern {
  #sent = PRIOR;
  #lost = 0;
  #bursts = 0;
  readonly #needs = new Int8Array(MOST_DATA + 1).fill(UNKNOWN);
  #neededFor = { rate: 0, burst: 1 };

  /** The share of shards that are lost, from 0 to 1. */
  get rate(): number {
    return Math.min(this.#lost / this.#sent, MOST_LOSS);
  }

  /** How many are lost one after another, on average. */
  get burst(): number {
    return this.#bursts > 0 ? Math.max(this.#lost / this.#bursts, 1) : 1;
  }

  /** Takes in that of so many more shards so many were lost, in so many bursts. */
  add(sent: number, lost: number, bursts: number): void {
    this.#sent += sent;
    this.#lost += lost;
    this.#bursts += bursts;
    while (this.#sent > 2 * RECENT) {
      this.#sent /= 2;
      this.#lost /= 2;
      this.#bursts /= 2;
    }
    const { rate, burst } = this;
    const before = this.#neededFor;
    const isSame = Math.abs(rate - before.rate) <= before.rate * SAME && Math.abs(burst - before.burst) <= before.burst * SAME;
    if (isSame) return;
    this.#neededFor = { rate, burst };
    this.#needs.fill(UNKNOWN);
  }

  /** How many parity shards a group of `k` data shards needs, so that it is seldom that one is missing; never more than `k`. */
  parityFor(k: number): number {
    const at = Math.min(k, MOST_DATA);
    const known = this.#needs[at]!;
    if (known !== UNKNOWN) return known;
    return (this.#needs[at] = this.#search(at));
  }

  #search(k: number): number {
    const { rate, burst } = this.#neededFor;
    const most = Math.min(k, MOST_PARITY);
    for (let p = 0; p < most; p++) if (shareBeyond(k + p, p, rate, burst) < ACCEPTED) return p;
    return most;
  }
}

/** How likely it is that of `n` datagrams in a row more than `p` are lost, when `rate` of all are, in bursts of `burst` on average. */
export function shareBeyond(n: number, p: number, rate: number, burst: number): number {
  const ends = 1 / burst;
  const begins = rate / (burst * (1 - rate));
  // How likely it is that so many were lost, the last of them not, or with the last.
  let passed = new Float64Array(p + 2);
  let lost = new Float64Array(p + 2);
  passed[0] = 1 - rate;
  lost[1] = rate;
  for (let i = 1; i < n; i++) {
    const nextPassed = new Float64Array(p + 2);
    const nextLost = new Float64Array(p + 2);
    for (let count = 0; count <= p; count++) {
      nextPassed[count] = passed[count]! * (1 - begins) + lost[count]! * ends;
      nextLost[count + 1] = passed[count]! * begins + lost[count]! * (1 - ends);
    }
    passed = nextPassed;
    lost = nextLost;
  }
  let within = 0;
  for (let count = 0; count <= p; count++) within += passed[count]! + lost[count]!;
  return 1 - within;
}

/** Shards that the pattern looks back on, and that count as having come before anything is known. */
const RECENT = 500;
const PRIOR = 100;
/** More than that is an outage. */
const MOST_LOSS = 0.3;
/** The share of groups that may miss something in spite of their parity. */
const ACCEPTED = 0.01;
/** Changes of this share change no need to speak of. */
const SAME = 0.1;
/** Of a group. */
export const MOST_DATA = 24;
export const MOST_PARITY = 8;
const UNKNOWN = -1;
