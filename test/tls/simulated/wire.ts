import type { TLSSocket } from 'node:tls';
import type { Actor, SimulatedLoop } from './loop.ts';

export interface Wire {
  readonly client: WireEnd;
  readonly server: WireEnd;
}

/** Of each of these, one is taken by chance for each connection. */
export interface WireChoices {
  /** Bytes that are on the way in one direction at most. */
  readonly capacities: readonly number[];
  /** The chance that an end is held when it has its turn; undefined for that of the loop. */
  readonly holdings: readonly (number | undefined)[];
}

/** A TCP connection in memory whose ends look like TLS sockets as far as a TlsConnection uses them. Chance decides when how much of what is sent arrives. */
export function makeWire(loop: SimulatedLoop, choices: WireChoices): Wire {
  const [up, down] = [new Pipe(loop, choices), new Pipe(loop, choices)];
  const [client, server] = [new WireEnd(loop, up, down), new WireEnd(loop, down, up)];
  client.peer = server;
  server.peer = client;
  // Some go slowly, and some never wait.
  for (const end of [client, server]) loop.add(end, oneOf(loop, choices.holdings));
  return { client, server };
}

export function asSocket(end: WireEnd): TLSSocket {
  return end as unknown as TLSSocket;
}

/** One direction: what the kernels and the network hold. */
class Pipe {
  readonly capacity: number;
  readonly chunks: Uint8Array[] = [];
  bytes = 0;
  /** Nothing follows. */
  ended = false;

  constructor(loop: SimulatedLoop, { capacities }: WireChoices) {
    this.capacity = oneOf(loop, capacities);
  }

  drop(): void {
    this.chunks.length = 0;
    this.bytes = 0;
  }
}

function oneOf<T>(loop: SimulatedLoop, choices: readonly T[]): T {
  return choices[loop.below(choices.length)]!;
}

type Written = (error?: Error | null) => void;

export class WireEnd implements Actor {
  peer: WireEnd | null = null;
  bytesWritten = 0;
  bytesRead = 0;
  destroyed = false;
  readonly #loop: SimulatedLoop;
  readonly #out: Pipe;
  readonly #in: Pipe;
  /** What the program has written and the kernel has not taken. */
  readonly #pending: { bytes: Uint8Array; at: number; written: Written }[] = [];
  /** Calls that tell the program what the kernel has taken. */
  readonly #taken: Written[] = [];
  readonly #listeners = new Map<string, ((argument?: unknown) => void)[]>();
  #ending: (() => void) | null = null;
  #paused = false;
  #endSeen = false;
  /** The peer's kernel has cut the connection off. */
  #isReset = false;

  constructor(loop: SimulatedLoop, out: Pipe, into: Pipe) {
    this.#loop = loop;
    this.#out = out;
    this.#in = into;
  }

  get writableLength(): number {
    return this.#pending.reduce((sum, { bytes, at }) => sum + bytes.length - at, 0);
  }

  on(event: string, listener: (argument?: unknown) => void): void {
    const listeners = this.#listeners.get(event) ?? [];
    listeners.push(listener);
    this.#listeners.set(event, listeners);
  }

  write(bytes: Uint8Array, written: Written = () => {}): void {
    if (this.destroyed || this.#ending !== null) return this.#loop.later(() => written(new Error('destroyed')));
    this.bytesWritten += bytes.length;
    this.#pending.push({ bytes, at: 0, written });
  }

  end(finished: () => void = () => {}): void {
    if (this.#ending === null && !this.destroyed) this.#ending = finished;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    const [begun, ...others] = this.#pending.splice(0);
    // As Node: what was under way counts as written.
    for (const written of this.#taken.splice(0)) this.#loop.later(() => written(null));
    if (begun !== undefined) this.#loop.later(() => begun.written(begun.at > 0 ? null : new Error('destroyed')));
    for (const { written } of others) this.#loop.later(() => written(new Error('destroyed')));
    // What was not read is answered with a reset, which costs the peer what it has not got yet.
    if (this.#in.bytes > 0) this.#cutPeerOff();
    this.#in.drop();
    this.#out.ended = true;
    this.#loop.later(() => {
      this.#loop.remove(this);
      this.#emit('close');
    });
  }

  /** The network cuts the connection off; what is on its way may arrive before that is noticed, or may not. */
  breakOff(arrives = true): void {
    if (!arrives) for (const pipe of [this.#in, this.#out]) pipe.drop();
    this.#isReset = true;
    this.#cutPeerOff();
  }

  step(): boolean {
    if (this.destroyed) return false;
    if (this.#isReset && this.#hearReset()) return true;
    const kinds = this.#loop.below(3);
    for (let n = 0; n < 3; n++) if (this.#act((kinds + n) % 3)) return true;
    return false;
  }

  setNoDelay(): void {}

  setKeepAlive(): void {}

  cork(): void {}

  uncork(): void {}

  #act(kind: number): boolean {
    if (kind === 0) return this.#sendSome();
    if (kind === 1) return this.#tellWritten();
    return this.#receiveSome();
  }

  #tellWritten(): boolean {
    const written = this.#taken.shift();
    written?.(null);
    return written !== undefined;
  }

  #sendSome(): boolean {
    const next = this.#pending[0];
    if (next === undefined) return this.#finish();
    const peerIsGone = this.peer!.destroyed;
    const room = peerIsGone ? Infinity : this.#out.capacity - this.#out.bytes;
    if (room <= 0) return false;
    const n = Math.min(room, next.bytes.length - next.at);
    if (!peerIsGone && n > 0) {
      // A copy: TLS has encrypted it.
      this.#out.chunks.push(Uint8Array.prototype.slice.call(next.bytes, next.at, next.at + n));
      this.#out.bytes += n;
    } else if (peerIsGone) this.#isReset = true;
    next.at += n;
    if (next.at === next.bytes.length) {
      this.#pending.shift();
      this.#taken.push(next.written);
    }
    return true;
  }

  #finish(): boolean {
    if (this.#ending === null || this.#out.ended || this.#taken.length > 0) return false;
    this.#out.ended = true;
    this.#ending();
    this.#closeIfBothEnded();
    return true;
  }

  #receiveSome(): boolean {
    if (this.#paused) return false;
    if (this.#in.bytes > 0) {
      // What TLS has decrypted comes even when somebody pauses meanwhile.
      for (let records = 1 + this.#loop.below(4); records > 0 && this.#in.bytes > 0 && !this.destroyed; records--) this.#receive();
      return true;
    }
    if (!this.#in.ended || this.#endSeen || this.#isReset) return false;
    this.#endSeen = true;
    this.#emit('end');
    this.end();
    this.#closeIfBothEnded();
    return true;
  }

  #receive(): void {
    const most = this.#loop.random() < 0.3 ? 1 + this.#loop.below(40) : RECORD;
    const first = this.#in.chunks[0]!;
    const n = Math.min(most, first.length);
    SHARED.set(first.subarray(0, n));
    if (n === first.length) this.#in.chunks.shift();
    else this.#in.chunks[0] = first.subarray(n);
    this.#in.bytes -= n;
    this.bytesRead += n;
    this.#emit('data', SHARED.subarray(0, n));
    // Who has kept a part of it is found out.
    SHARED.fill(0xee, 0, n);
  }

  #closeIfBothEnded(): void {
    if (this.#endSeen && this.#out.ended) this.destroy();
  }

  #cutPeerOff(): void {
    const peer = this.peer!;
    if (!peer.destroyed) peer.#isReset = true;
  }

  /** A reset may cost what has not been read; who neither reads nor writes does not hear of it. */
  #hearReset(): boolean {
    if ((this.#paused && this.#pending.length === 0) || (this.#in.bytes > 0 && this.#loop.random() < 0.7)) return false;
    this.#in.drop();
    this.#emit('error', Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
    this.destroy();
    return true;
  }

  #emit(event: string, argument?: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(argument);
  }
}

/** A TLS record's worth: what one read gives at most. */
const RECORD = 16_384;
const SHARED = new Uint8Array(RECORD);
