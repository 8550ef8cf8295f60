/**
 * Tells when somebody who should answer does not. Time is counted in questions asked rather than on a clock: whoever asks may have been stopped, and the one who answers
 * is not to blame for that.
 */
export class Heartbeat {
  readonly #timer: NodeJS.Timeout;
  #unanswered = 0;
  /** How many more it may leave open while it starts. */
  #patience = START_PATIENCE;

  /** @param timeout milliseconds without an answer. */
  constructor(timeout: number, ask: () => void, onSilence: () => void) {
    this.#timer = setInterval(() => {
      if (++this.#unanswered <= QUESTIONS * this.#patience) return ask();
      this.stop();
      onSilence();
    }, timeout / QUESTIONS);
  }

  handleAnswer(): void {
    this.#unanswered = 0;
    this.#patience = 1;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** For each timeout. */
const QUESTIONS = 5;
/** Timeouts: loading the program takes a slow machine seconds. */
const START_PATIENCE = 6;
