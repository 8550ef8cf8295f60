/**
 * When a client with a ticket that waits for WELCOME has one more packet acknowledged, which is what shows quiche that what it sent before is lost, HELLO among it. Its own time for that is three
 * times the first round trip that it measured, which is seconds when the server was just being started; and what was sent early and refused it takes for under way until then. A client without a
 * ticket waits: what shows HELLO's loss by small packets would bring a link up on a path that takes no full datagrams.
 */
export class Reminder {
  #wait = FIRST;
  #at = Infinity;

  /** When to call `poll`; Infinity before `start`. */
  get deadline(): number {
    return this.#at;
  }

  /** The first packet is due at once; `now` is milliseconds of a steady clock. */
  start(now: number): void {
    this.#at = now;
  }

  /** Whether a packet is due. */
  poll(now: number): boolean {
    if (now < this.#at) return false;
    this.#at = now + this.#wait;
    this.#wait = Math.min(2 * this.#wait, LONGEST);
    return true;
  }
}

/** Milliseconds, twice as many each time: eleven packets in ten seconds, of which a server takes 32 datagrams. */
const FIRST = 250;
const LONGEST = 1_000;
