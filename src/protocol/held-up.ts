/**
 * Whether what was due at `due` comes so late at `now` (milliseconds of a steady clock) that the process must have been held up: stopped, or busy. Then what others have said meanwhile may wait in its sockets, which are to be
 * read for `LISTEN` milliseconds before anything is concluded from their silence.
 */
export function wasHeldUp(now: number, due: number): boolean {
  return now - due > LATE;
}

/** Milliseconds: hundreds of rounds of the event loop, each of which reads up to 16 runs of datagrams, or 64 KiB of a TCP connection. */
export const LISTEN = 20;
/** How often in a row one listens: a process that is held up all the time has to conclude something in the end. */
export const MOST_LISTENING = 5;
/** Milliseconds: more than a garbage collection, or a machine with ten busy programs on each processor, takes; less than the shortest stall (600 ms). */
const LATE = 100;
