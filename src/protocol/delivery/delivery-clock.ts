/**
 * The clock that deliveries are measured by: the peer's, of which its reports tell, and between them the own one. Both run equally fast; what is between them does not
 * matter. It stands still while nothing is under way.
 */
export class DeliveryClock {
  #time = 0;
  /** When, by the own clock, it was set. */
  #setAt = 0;
  /** The peer's clock since its first report, without what pauses added to the estimate. */
  #peerTime = 0;
  /** What the last report said, and when it came. */
  #lastReport = -1;
  #reportAt = 0;

  /** Milliseconds, when the last delivery that is known of was made. */
  get time(): number {
    return this.#time;
  }

  /** Something goes out after a pause: it goes on as if the last delivery had been made just now. */
  goOn(now: number): void {
    this.#time += Math.max(0, now - this.#setAt);
    this.#setAt = now;
  }

  /** Brings it to the peer's latest arrival: `clock` in microseconds, 32 bits of it. */
  handleReport(clock: number, now: number): void {
    if (this.#lastReport >= 0) {
      const passed = this.#passed(clock, now);
      // After a pause the own estimate may be ahead.
      this.#time = Math.max(this.#time, this.#peerTime + passed);
      this.#peerTime += passed;
    } else this.#peerTime = this.#time;
    this.#lastReport = clock;
    this.#reportAt = this.#setAt = now;
  }

  /** Milliseconds on the peer's clock since its last report. A clock of 32 bits goes round in 72 minutes, and a link may be silent for longer. */
  #passed(clock: number, now: number): number {
    const passed = ((clock - this.#lastReport + CLOCK_WRAP) % CLOCK_WRAP) / 1_000;
    const rounds = Math.round((now - this.#reportAt - passed) / (CLOCK_WRAP / 1_000));
    return Math.max(0, passed + (rounds * CLOCK_WRAP) / 1_000);
  }
}

const CLOCK_WRAP = 2 ** 32;
