import type { FastifyReply } from 'fastify';
import type { LiveFeed, Moment } from '../live/live-feed.ts';
import { Refusal } from './refusal.ts';
import type { Tokens } from './tokens.ts';
import { momentView } from './views.ts';

/**
 * Server-sent events: every moment of the feed for everybody who listens, in bounded memory. They end when the tokens change, so that a token
 * that was removed hears nothing more; a browser asks again by itself.
 */
export class EventStreams {
  readonly #live: LiveFeed;
  readonly #tokens: Tokens;
  #open = 0;
  /** Made once for all who listen. */
  #last: { readonly moment: Moment; readonly text: string } | null = null;

  constructor(live: LiveFeed, tokens: Tokens) {
    this.#live = live;
    this.#tokens = tokens;
  }

  /** Answers with a stream, which begins with the latest moment. @throws Refusal `TOO_MANY` */
  open(reply: FastifyReply): void {
    const { raw: response } = reply;
    // It would wait behind a stream that does not end, and nobody would tell it that the connection is gone.
    if (response.socket === null) throw new Refusal('TOO_MANY', 'A connection carries one stream of events: open another one.');
    if (this.#open >= MOST_STREAMS) throw new Refusal('TOO_MANY', `There are ${MOST_STREAMS} listeners already: try again later.`);
    this.#open++;
    reply.hijack();
    const { changed } = this.#tokens;
    const end = (): void => void response.end();
    const say = (moment: Moment): void => {
      // Who does not read is not waited for.
      if (response.writableLength > MOST_WAITING) response.destroy();
      else response.write(this.#textOf(moment));
    };
    response.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), 'content-type': 'text/event-stream' });
    const stop = this.#live.listen(say);
    changed.addEventListener('abort', end);
    response.on('error', () => {});
    response.on('close', () => {
      this.#open--;
      stop();
      changed.removeEventListener('abort', end);
    });
    say(this.#live.moment);
  }

  #textOf(moment: Moment): string {
    if (this.#last?.moment !== moment)
      this.#last = { moment, text: `event: moment\ndata: ${JSON.stringify(momentView(moment))}\n\n` };
    return this.#last.text;
  }
}

const MOST_STREAMS = 64;
/** Bytes. */
const MOST_WAITING = 1024 * 1024;
