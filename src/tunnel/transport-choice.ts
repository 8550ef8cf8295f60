import type { Link, LinkStats } from '../link/link.ts';

/**
 * Which transport serves new connections better (`-transport=auto`), by what is seen of the path. TLS has the kernel's TCP do the work, which is faster as long as
 * nothing is lost and nothing is far; everywhere else QUIC's delivery is (README, "Speed"; docs/PERFORMANCE.md). QUIC until the path has shown that it is
 * near and clean, and again at the first signs that it is not.
 */
export class TransportChoice {
  /** The least round-trip time of each of the last looks, in milliseconds. */
  readonly #rtts: number[] = [];
  #sent = 0;
  #lost = 0;
  /** Sums in which what was before weighs less and less. */
  #recentSent = 0;
  #recentLost = 0;
  #preferred: Link['transport'] = 'quic';

  get preferred(): Link['transport'] {
    return this.#preferred;
  }

  /** Milliseconds, the least of late; Infinity before anything was seen. */
  get rtt(): number {
    return Math.min(...this.#rtts);
  }

  /** The share of datagrams lost of late, from 0 to 1. */
  get lossRate(): number {
    return this.#recentLost / Math.max(this.#recentSent, LEAST_SENT);
  }

  /** Takes in what both links tell, at regular times. Returns whether another transport is preferred now. */
  handleLook(quic: LinkStats, tls: LinkStats | null): boolean {
    const rtts = [quic.rtt, tls?.rtt ?? Number.NaN].filter((rtt) => !Number.isNaN(rtt));
    this.#rtts.push(Math.min(...rtts));
    if (this.#rtts.length > LOOKS) this.#rtts.shift();
    this.#takeLoss(quic.packetsSent, quic.packetsLost);
    const before = this.#preferred;
    if (this.rtt <= NEAR && this.lossRate <= CLEAN) this.#preferred = 'tls';
    else if (this.rtt > FAR || this.lossRate > LOSSY) this.#preferred = 'quic';
    return this.#preferred !== before;
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
