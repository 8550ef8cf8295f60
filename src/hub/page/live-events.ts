import { EventLines } from './event-lines.ts';
import { HubProblem, type HubApi } from './hub-api.ts';
import type { Moment } from './types.ts';

export interface LiveEventsOptions {
  readonly api: HubApi;
  onMoment(moment: Moment): void;
  /** Whether moments come. */
  onState(connected: boolean): void;
}

/**
 * The hub's events, asked for again whenever they end, until a token is needed. Read with fetch, since an EventSource sends no Authorization
 * header. A page that nobody sees does not listen.
 */
export class LiveEvents {
  readonly #options: LiveEventsOptions;
  #current: AbortController | null = null;

  constructor(options: LiveEventsOptions) {
    this.#options = options;
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#current?.abort();
      else if (this.#current !== null) this.start();
    });
  }

  /** Begins anew. */
  start(): void {
    this.#current?.abort();
    this.#current = new AbortController();
    if (!document.hidden) void this.#follow(this.#current.signal);
  }

  stop(): void {
    this.#current?.abort();
    this.#current = null;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for (let wait = FIRST_WAIT_MS; !signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        await this.#read(signal, () => (wait = FIRST_WAIT_MS));
      } catch (error) {
        if (error instanceof HubProblem && error.status === 401) return;
      }
      if (signal.aborted) return;
      this.#options.onState(false);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /** Until the stream ends, or is silent for too long. */
  async #read(signal: AbortSignal, heard: () => void): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const response = await this.#options.api.open('GET', '/api/v1/events', AbortSignal.any([signal, silence.signal]));
      const lines = new EventLines();
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        heard();
        for (const data of lines.push(value)) {
          this.#options.onState(true);
          this.#options.onMoment(JSON.parse(data) as Moment);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A moment comes every second. */
const SILENCE_MS = 10_000;
