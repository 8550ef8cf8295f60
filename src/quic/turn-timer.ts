import { LISTEN, MOST_LISTENING, wasHeldUp } from '../protocol/held-up.ts';
import type { Clock, Timer } from './clock.ts';

/**
 * Has a connection's next turn come when it is due. A turn that is late, because the process was held up, is put off: what the peer has said meanwhile may wait in the socket, and nothing is to be concluded
 * from its silence before that was read (protocol/held-up.ts).
 */
export class TurnTimer {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  #timer: Timer | null = null;
  #at = Infinity;
  /** It has fired, which may be a fraction of a millisecond early. */
  #fired = false;
  /** Until when nothing is concluded from the peer's silence, and how often in a row that was so. */
  #listenUntil = -Infinity;
  #listened = 0;

  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  isDue(now: number): boolean {
    return this.#fired || now >= this.#at;
  }

  /** What was due is being done. */
  clear(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#at = Infinity;
    this.#fired = false;
  }

  /** A turn is due at `deadline`, or before. One timer, moved only when it has to come earlier: one that fires too early costs an empty turn, moving it at each turn more (docs/MEASURED.md). */
  arm(deadline: number, now: number): void {
    if (deadline >= this.#at || deadline === Infinity) return;
    // What is due since long ago is due now: this turn has not been late for it.
    this.#set(Math.max(0, deadline - now), Math.max(now, deadline));
  }

  /** Whether this turn is put off. @param mayListen whether it is one in which something could be concluded from silence. */
  listensFirst(now: number, mayListen: boolean): boolean {
    if (mayListen && !this.#fired && now < this.#listenUntil) return true;
    if (!mayListen || !wasHeldUp(now, this.#at) || this.#listened === MOST_LISTENING) {
      this.#listened = 0;
      this.#listenUntil = -Infinity;
      return false;
    }
    this.#listened++;
    this.#listenUntil = now + LISTEN;
    this.#set(LISTEN, this.#listenUntil);
    return true;
  }

  #set(delay: number, at: number): void {
    this.#timer?.cancel();
    this.#fired = false;
    this.#at = at;
    this.#timer = this.#clock.setTimer(this.#fire, delay);
  }

  readonly #fire = (): void => {
    this.#fired = true;
    this.#onDue();
  };
}
