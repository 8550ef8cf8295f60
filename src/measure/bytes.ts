import type { Socket } from 'node:net';
import { readerOf } from '../tunnel/socket-reader.ts';

/** Takes bytes; they are valid during the call only. */
export type Take = (chunk: Uint8Array) => void;

/** A socket's bytes, each chunk to whoever takes them at that moment: protocols go on in steps. */
export class ByteInput {
  readonly #socket: Socket;
  #take: Take | null = null;

  /** Reads nothing before the first `give`. */
  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Gives all that follows to `take`, after what is left of the chunk that was just taken. */
  give(take: Take, rest: Uint8Array = EMPTY): void {
    const reading = this.#take !== null;
    this.#take = take;
    if (rest.length > 0) take(rest);
    if (!reading) this.#start();
  }

  #start(): void {
    const handle: Take = (chunk) => this.#take?.(chunk);
    const reader = readerOf(this.#socket);
    if (reader === undefined) this.#socket.on('data', handle);
    else reader.start(this.#socket, handle);
  }
}

/** Collects exactly so many bytes, then hands them over with what came behind them. */
export function collect(length: number, done: (bytes: Uint8Array, rest: Uint8Array) => void): Take {
  let collected = Buffer.alloc(0);
  return (chunk) => {
    const missing = length - collected.length;
    collected = Buffer.concat([collected, chunk.subarray(0, missing)]);
    if (collected.length === length) done(collected, chunk.subarray(missing));
  };
}

/** Collects a line; null instead of it when it gets longer than `longest`. */
export function collectLine(longest: number, done: (line: string | null, rest: Uint8Array) => void): Take {
  let collected = Buffer.alloc(0);
  return (chunk) => {
    const end = chunk.indexOf(LINE_FEED);
    const part = end === -1 ? chunk : chunk.subarray(0, end);
    if (collected.length + part.length > longest) return done(null, EMPTY);
    collected = Buffer.concat([collected, part]);
    if (end !== -1) done(collected.toString(), chunk.subarray(end + 1));
  };
}

const LINE_FEED = 0x0a;
const EMPTY = new Uint8Array(0);
