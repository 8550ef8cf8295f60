/**
 * Flow control of one stream in one direction (docs/PROTOCOL.md, CREDIT): offsets count the stream's bytes from 0, the receiver says up to
 * which the sender may go, and never takes a promise back.
 *
 *     receiver   0 ──── consumed ─────────── granted          granted - consumed <= window <= the stream's bound on memory
 *     sender     0 ────────────── sent ───── limit            limit is the newest `granted` that has arrived
 */
export class SendCredit {
  #sent = 0;
  #limit: number;

  constructor(initial: number) {
    this.#limit = initial;
  }

  /** Bytes that may be sent now. */
  get available(): number {
    return this.#limit - this.#sent;
  }

  handleSent(bytes: number): void {
    this.#sent += bytes;
  }

  /** Takes a CREDIT in; an older one changes nothing. Returns whether there is more to send with than before. */
  handleCredit(offset: number): boolean {
    if (offset <= this.#limit) return false;
    this.#limit = offset;
    return true;
  }
}

export class ReceiveCredit {
  readonly #budget: CreditBudget;
  readonly #maximum: number;
  #window: number;
  #consumed = 0;
  #granted: number;
  #grantedAt: number;

  /** `initial` and `maximum` are bytes; `now` milliseconds of any steady clock. */
  constructor(initial: number, maximum: number, budget: CreditBudget, now: number) {
    this.#window = initial;
    this.#maximum = Math.max(initial, maximum);
    this.#budget = budget;
    this.#granted = initial;
    this.#grantedAt = now;
    budget.take(initial);
  }

  /** The most bytes the sender may have under way or waiting here. */
  get window(): number {
    return this.#window;
  }

  /** Bytes that may be under way or waiting here; when more than that wait, the sender has broken its promise. */
  get outstanding(): number {
    return this.#granted - this.#consumed;
  }

  handleConsumed(bytes: number): void {
    this.#consumed += bytes;
  }

  /**
   * The offset to announce, or 0 while the sender has at least half a window left. A window that was half used up within two round trips is what
   * holds the sender back, so it doubles, as in quinn and quiche, within the stream's maximum and the budget that all streams share.
   */
  pollCredit(now: number, rtt: number): number {
    if (this.outstanding > this.#window / 2) return 0;
    if (now - this.#grantedAt < 2 * rtt + GROWTH_SLACK && this.#window < this.#maximum) this.#grow();
    this.#granted = this.#consumed + this.#window;
    this.#grantedAt = now;
    return this.#granted;
  }

  /** Gives the window back to the budget. To be called once, when the stream has ended. */
  release(): void {
    this.#budget.give(this.#window);
    this.#window = 0;
  }

  #grow(): void {
    const more = Math.min(this.#window, this.#maximum - this.#window);
    if (!this.#budget.tryTake(more)) return;
    this.#window += more;
  }
}

/** The memory that all streams of a link may promise together: beyond it, windows stop growing. */
export class CreditBudget {
  readonly #limit: number;
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes promised at the moment. */
  get taken(): number {
    return this.#taken;
  }

  take(bytes: number): void {
    this.#taken += bytes;
  }

  tryTake(bytes: number): boolean {
    if (this.#taken + bytes > this.#limit) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }
}

/** Milliseconds: on a path without a measurable round trip a window that lasts for less is too small (measured on loopback: 1 MiB in 2–3 ms). */
const GROWTH_SLACK = 5;
