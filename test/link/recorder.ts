import type { QtunnelError } from '../../src/errors.ts';
import {
  END,
  type Link,
  type LinkHandler,
  type LinkState,
  type LinkStream,
  NOTHING_YET,
  type OpenRequest,
  type StreamHandler,
} from '../../src/link/link.ts';
import type { ResetReason } from '../../src/protocol/reset.ts';
import { withDeadline } from '../support/deadline.ts';

/** Lets a test wait until something is so; asked again after every event. */
class Watch {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    for (const check of this.#waiting) check();
  }

  until(what: string, holds: () => boolean): Promise<void> {
    const promise = new Promise<void>((resolve) => {
      const check = (): void => {
        if (!holds()) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
    return withDeadline(promise, () => what);
  }
}

/** Reads a stream as it comes, `readSize` bytes at a time, and writes down what happens to it. */
export class StreamRecorder implements StreamHandler {
  readonly stream: LinkStream;
  readonly chunks: Uint8Array[] = [];
  received = 0;
  ended = false;
  resets: { reason: ResetReason; message: string }[] = [];
  readonly datagrams: Uint8Array[] = [];
  /** Calls of the handler so far. */
  calls = 0;
  /** Reads nothing while true. */
  holding: boolean;
  readonly #readSizes: readonly number[];
  #reads = 0;
  #writableCalls = 0;
  readonly #watch = new Watch();

  constructor(
    stream: LinkStream,
    { readSizes = [16_384], holding = false }: { readSizes?: readonly number[]; holding?: boolean } = {},
  ) {
    this.stream = stream;
    this.holding = holding;
    this.#readSizes = readSizes;
    stream.handler = this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString('latin1');
  }

  onReadable(): void {
    this.calls++;
    this.#read();
  }

  onWritable(): void {
    this.calls++;
    this.#writableCalls++;
    this.#watch.notify();
  }

  onDatagram(datagram: Uint8Array): void {
    this.calls++;
    this.datagrams.push(Uint8Array.from(datagram));
    this.#watch.notify();
  }

  onReset(reason: ResetReason, message: string): void {
    this.calls++;
    this.resets.push({ reason, message });
    this.#watch.notify();
  }

  release(): void {
    this.holding = false;
    this.#read();
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return this.#watch.until(
      `${what} (received ${this.received}, ended ${this.ended}, resets ${JSON.stringify(this.resets)})`,
      holds,
    );
  }

  async end(): Promise<void> {
    await this.until('the end of a stream', () => this.ended || this.resets.length > 0);
    if (!this.ended) throw new Error(`The stream was reset: ${JSON.stringify(this.resets)}`);
  }

  async reset(): Promise<{ reason: ResetReason; message: string }> {
    await this.until('a reset', () => this.resets.length > 0);
    return this.resets[0]!;
  }

  /** Writes everything, waiting for room as often as needed. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const before = this.#writableCalls;
      at += this.stream.write(bytes.subarray(at));
      if (at < bytes.length)
        await this.until(`room after ${at} bytes`, () => this.#writableCalls > before || this.resets.length > 0);
      if (this.resets.length > 0) throw new Error(`The stream was reset: ${JSON.stringify(this.resets)}`);
    }
  }

  #read(): void {
    while (!this.holding && !this.ended) {
      const into = new Uint8Array(this.#readSizes[this.#reads++ % this.#readSizes.length]!);
      const n = this.stream.read(into);
      if (n === NOTHING_YET) break;
      if (n === END) this.ended = true;
      else {
        this.received += n;
        this.chunks.push(into.subarray(0, n));
      }
    }
    this.#watch.notify();
  }
}

export interface Accepted {
  readonly recorder: StreamRecorder;
  readonly request: OpenRequest;
}

/** Takes a link's streams and writes down what happens to it. */
export class LinkRecorder implements LinkHandler {
  readonly link: Link;
  readonly states: LinkState[] = [];
  /** The local addresses that it went on from. */
  readonly moves: string[] = [];
  readonly closes: QtunnelError[] = [];
  /** What became of its early data; empty for a link without any. */
  readonly earlyData: boolean[] = [];
  readonly accepted: Accepted[] = [];
  /** What streams are accepted with. */
  options: { readSizes?: readonly number[]; holding?: boolean } = {};
  readonly #watch = new Watch();
  #taken = 0;

  constructor(link: Link) {
    this.link = link;
    link.handler = this;
  }

  onStream(stream: LinkStream, request: OpenRequest): void {
    this.accepted.push({ recorder: new StreamRecorder(stream, this.options), request });
    this.#watch.notify();
  }

  onMove(local: string): void {
    this.moves.push(local);
  }

  onEarlyData(taken: boolean): void {
    this.earlyData.push(taken);
    this.#watch.notify();
  }

  onStateChange(state: LinkState): void {
    this.states.push(state);
    this.#watch.notify();
  }

  onClose(reason: QtunnelError): void {
    this.closes.push(reason);
    this.#watch.notify();
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return this.#watch.until(what, holds);
  }

  /** The next stream that the peer opened. */
  async accept(): Promise<Accepted> {
    const index = this.#taken++;
    await this.until(`stream ${index}`, () => this.accepted.length > index);
    return this.accepted[index]!;
  }

  async closed(): Promise<QtunnelError> {
    await this.until('the end of a link', () => this.closes.length > 0);
    return this.closes[0]!;
  }
}
