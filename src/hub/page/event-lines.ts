/**
 * Takes a stream of server-sent events apart (HTML, "Server-sent events", of which the hub uses `data` alone), however it is cut into pieces.
 * @throws Error when an event is longer than 8 million characters.
 */
export class EventLines {
  #rest = '';

  /** The data of the events that this piece completes; those without any are none. */
  push(piece: string): string[] {
    const events = (this.#rest + piece).split('\n\n');
    this.#rest = events.pop() ?? '';
    if (this.#rest.length > LONGEST) throw new Error('an event without an end');
    return events.map(dataOf).filter((data) => data !== '');
  }
}

function dataOf(event: string): string {
  return event
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length).trimStart())
    .join('\n');
}

const LONGEST = 8_000_000;
