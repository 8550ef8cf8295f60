import type { Link, LinkStats } from '../link/link.ts';

/**
 * Which transport serves new connections better (`-transport=auto`), by what is seen of the path. TLS has the kernel's TCP do the work, which is faster as long as
 * nothing is lost and nothing is far; everywhere else QUIC's delivery is (README; docs/PERFORMANCE.md). QUIC until the path has shown that it is near and clean,
 * and again at the first signs that it is not. Loss shows on QUIC only, so that now and then new connections go there for a few looks.
 */
export class TransportChoice {
  /** The least round-trip time of each of the last looks, in milliseconds. */
  readonly #rtts: number[] = [];
  #sent = 0;
  #lost = 0;
  /** Sums in which what was before weighs less and less. */
  #recentSent = 0;
  #recentLost = 0;
  #verdict: Link['transport'] = 'quic';
  #looksSinceTrial = 0;

  get preferred(): Link['transport'] {
    return this.#looksSinceTrial >= TRIAL_AFTER ? 'quic' : this.#verdict;
  }

  /** Milliseconds, the least of late; Infinity before anything was seen. */
  get rtt(): number {
    return Math.min(...this.#rtts);
  }

  /** The share of datagrams lost of late, from 0 to 1. */
  get lossRate(): number {
    return this.#recentLost / Math.max(this.#recentSent, LEAST_SENT);
  }

  /** Takes in what both links tell, at regular times. Returns whether another transport is the better one now. */
  handleLook(quic: LinkStats, tls: LinkStats | null): boolean {
    this.#takeRtt(quic, tls?.rtt ?? Number.NaN);
    this.#takeLoss(quic.packetsSent, quic.packetsLost);
    this.#looksSinceTrial = (this.#looksSinceTrial + 1) % (TRIAL_AFTER + TRIAL);
    const before = this.#verdict;
    if (this.rtt <= NEAR && this.lossRate <= CLEAN) this.#verdict = 'tls';
    else if (this.rtt > FAR || this.lossRate > LOSSY) this.#verdict = 'quic';
    if (this.#verdict !== before) this.#looksSinceTrial = 0;
    return this.#verdict !== before;
  }

  /** QUIC's says nothing of the present while it sends nothing that is measured; TLS asks with each keepalive. */
  #takeRtt(quic: LinkStats, tls: number): void {
    const rtts = quic.packetsSent !== this.#sent || Number.isNaN(tls) ? [quic.rtt, tls] : [tls];
    this.#rtts.push(Math.min(...rtts.filter((rtt) => !Number.isNaN(rtt))));
    if (this.#rtts.length > LOOKS) this.#rtts.shift();
  }

  #takeLoss(sent: number, lost: number): void {
    // Another link counts from zero, and is another path perhaps.
    if (sent < this.#sent || lost < this.#lost) this.#recentSent = this.#recentLost = this.#sent = this.#lost = 0;
    this.#recentSent = this.#recentSent * DECAY + sent - this.#sent;
    this.#recentLost = this.#recentLost * DECAY + lost - this.#lost;
    this.#sent = sent;
    this.#lost = lost;
  }
}

/** Milliseconds. In between things stay as they are. */
const NEAR = 2;
const FAR = 4;
/** Shares of datagrams. A queue that overflows now and then is no lossy path. */
const CLEAN = 0.001;
const LOSSY = 0.005;
/** Datagrams below which a single loss says little. */
const LEAST_SENT = 1_000;
const LOOKS = 30;
const DECAY = 0.9;
/** Looks after which QUIC is tried, and for how many. */
const TRIAL_AFTER = 300;
const TRIAL = 5;
