import type { BpfProgram } from '../udp/classic-bpf.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { Budget } from './admission.ts';
import type { Clock, Timer } from './clock.ts';

/**
 * Has the kernel drop what strangers send while there is much of it. Each time for a while only: what is dropped there nobody counts or tells of, as a client whose secret is wrong should be.
 */
export class FloodGate {
  readonly #udp: UdpSocket;
  readonly #clock: Clock;
  readonly #program: () => BpfProgram;
  readonly #budget: Budget;
  /** Null while the gate is open. */
  #timer: Timer | null = null;

  constructor(udp: UdpSocket, clock: Clock, program: () => BpfProgram) {
    this.#udp = udp;
    this.#clock = clock;
    this.#program = program;
    this.#budget = new Budget(clock, MOST_PER_SECOND);
    // A socket that was another process's may have its filter.
    udp.setFilter?.(null);
  }

  /** A datagram came that is nobody's. */
  handleStranger(): void {
    if (this.#timer !== null || this.#budget.take()) return;
    if (this.#udp.setFilter?.(this.#program()) === true) this.#timer = this.#clock.setTimer(() => this.open(), CLOSED_FOR);
  }

  /** Other clients may come, or ids have other checks. */
  refresh(): void {
    if (this.#timer !== null) this.#udp.setFilter?.(this.#program());
  }

  /** Everything comes in again. */
  open(): void {
    if (this.#timer === null) return;
    this.#timer.cancel();
    this.#timer = null;
    this.#udp.setFilter?.(null);
  }
}

/** Datagrams: more come of no client, and less than a thousandth of a processor is spent on them. */
const MOST_PER_SECOND = 200;
/** Milliseconds. */
const CLOSED_FOR = 10_000;
