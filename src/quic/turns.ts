import type { Clock } from './clock.ts';
import type { QuicConnection } from './connection.ts';

/** Gives turns to the connections of one endpoint: all that asked since the last round, each once, after the input that is there was taken in. */
export class Turns {
  readonly #clock: Clock;
  #due: QuicConnection[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  schedule(connection: QuicConnection): void {
    if (connection.scheduled) return;
    connection.scheduled = true;
    if (this.#due.push(connection) === 1) this.#clock.defer(this.#run);
  }

  readonly #run = (): void => {
    const due = this.#due;
    this.#due = [];
    for (const connection of due) {
      connection.scheduled = false;
      connection.turn();
    }
  };
}
