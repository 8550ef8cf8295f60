import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { resetSocket } from '../../src/tunnel/reset-socket.ts';
import type { Owner } from './process.ts';
import { freePort } from './tcp.ts';

/** What a way can do to TCP connections, after toxiproxy's toxics (https://github.com/Shopify/toxiproxy#toxics). Both directions of each connection suffer it. */
export type Toxic =
  | { readonly type: 'latency'; readonly milliseconds: number; readonly jitter: number }
  | { readonly type: 'bandwidth'; readonly bytesPerSecond: number }
  /** An end is passed on late. */
  | { readonly type: 'slow close'; readonly milliseconds: number }
  /** Nothing passes any more; after a while both sides are closed. */
  | { readonly type: 'timeout'; readonly milliseconds: number }
  /** After a while both sides are reset. */
  | { readonly type: 'reset peer'; readonly milliseconds: number }
  /** Everything passes in slices of at most so many bytes. */
  | { readonly type: 'slicer'; readonly bytes: number }
  /** After so many bytes of a direction both sides are closed. */
  | { readonly type: 'limit data'; readonly bytes: number }
  /** Connections are closed, new ones refused. */
  | { readonly type: 'down' };

/** Passes TCP connections on to a port of this machine; what its toxic does to them can be changed at any time, for those that are open too. */
export class ToxicProxy {
  readonly port: number;
  readonly #target: number;
  readonly #connections = new Set<Passage>();
  #server: Server | null = null;
  #toxic: Toxic | null = null;
  #passed = 0;

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  static async open(owner: Owner, target: number): Promise<ToxicProxy> {
    const proxy = new ToxicProxy(await freePort(), target);
    owner.teardown(() => proxy.#close());
    await proxy.#listen();
    return proxy;
  }

  /** Bytes that have been passed on so far. */
  get passed(): number {
    return this.#passed;
  }

  get toxic(): Toxic | null {
    return this.#toxic;
  }

  /** From here on; null for none. */
  async set(toxic: Toxic | null): Promise<void> {
    this.#toxic = toxic;
    if (toxic?.type === 'down') return this.#close();
    if (this.#server === null) await this.#listen();
    for (const connection of this.#connections) connection.suffer();
  }

  /** A direction has passed so many bytes on. */
  count(bytes: number): void {
    this.#passed += bytes;
  }

  async #listen(): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      const far = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      const passage = new Passage(this, near, far);
      this.#connections.add(passage);
      void passage.closed.then(() => this.#connections.delete(passage));
      passage.suffer();
    });
    server.listen(this.port, '127.0.0.1', BACKLOG);
    await once(server, 'listening');
    this.#server = server;
  }

  #close(): void {
    this.#server?.close();
    this.#server = null;
    for (const connection of this.#connections) connection.close();
  }
}

/** A connection and the one that it is passed on to. */
class Passage {
  readonly closed: Promise<unknown>;
  readonly #proxy: ToxicProxy;
  readonly #ends: readonly [Socket, Socket];

  constructor(proxy: ToxicProxy, near: Socket, far: Socket) {
    this.#proxy = proxy;
    this.#ends = [near, far];
    this.closed = Promise.all(this.#ends.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    // An error of one side is a reset, which the other side is to see as one.
    near.on('error', () => resetSocket(far));
    far.on('error', () => resetSocket(near));
    void this.#carry(near, far);
    void this.#carry(far, near);
  }

  /** Starts what the toxic does after a while. */
  suffer(): void {
    const { toxic } = this.#proxy;
    if (toxic?.type === 'timeout') this.#after(toxic.milliseconds, () => this.close());
    if (toxic?.type === 'reset peer') this.#after(toxic.milliseconds, () => this.#reset());
  }

  close(): void {
    for (const socket of this.#ends) socket.destroy();
  }

  #reset(): void {
    for (const socket of this.#ends) resetSocket(socket);
  }

  #after(milliseconds: number, act: () => void): void {
    const timer = setTimeout(act, milliseconds);
    void this.closed.then(() => clearTimeout(timer));
  }

  async #carry(from: Socket, to: Socket): Promise<void> {
    const state = { waiting: 0, passed: 0 };
    let last = Promise.resolve();
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        const due = performance.now() + this.#delay();
        state.waiting += chunk.length;
        last = last.then(() => this.#pass(chunk, due, to, state));
        if (state.waiting > MOST_WAITING) await last;
      }
      await last;
      const { toxic } = this.#proxy;
      if (toxic?.type === 'slow close') await sleep(toxic.milliseconds);
      // What Node takes for an end may be a reset, which a write finds out (`ending` in tcp.ts).
      if (from.writable) from.write(Buffer.alloc(0));
      await turn();
      if (toxic?.type !== 'timeout' && !from.errored) to.end();
    } catch {
      // The sockets' own handlers see to it.
    }
  }

  #delay(): number {
    const { toxic } = this.#proxy;
    return toxic?.type === 'latency' ? toxic.milliseconds + (Math.random() * 2 - 1) * toxic.jitter : 0;
  }

  async #pass(chunk: Buffer, due: number, to: Socket, state: { waiting: number; passed: number }): Promise<void> {
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    for (let rest = chunk; rest.length > 0 && !to.destroyed;) {
      const piece = rest.subarray(0, this.#most(state.passed));
      await this.#write(piece, to);
      state.passed += piece.length;
      rest = rest.subarray(piece.length);
      const { toxic } = this.#proxy;
      if (toxic?.type === 'limit data' && state.passed >= toxic.bytes) this.close();
    }
    state.waiting -= chunk.length;
  }

  /** Of one piece, after so many bytes of its direction. */
  #most(passed: number): number {
    const { toxic } = this.#proxy;
    if (toxic?.type === 'slicer') return toxic.bytes;
    if (toxic?.type === 'bandwidth') return Math.max(1, Math.round((toxic.bytesPerSecond * SLICE_MS) / 1000));
    if (toxic?.type === 'limit data') return Math.max(1, toxic.bytes - passed);
    return Infinity;
  }

  async #write(piece: Buffer, to: Socket): Promise<void> {
    const { toxic } = this.#proxy;
    if (toxic?.type === 'timeout') return;
    if (toxic?.type === 'bandwidth') await sleep((piece.length / toxic.bytesPerSecond) * 1000);
    if (toxic?.type === 'slicer') await turn();
    this.#proxy.count(piece.length);
    if (!to.write(piece)) await Promise.race([once(to, 'drain'), this.closed]).catch(() => {});
  }
}

const MOST_WAITING = 1024 * 1024;
const SLICE_MS = 10;
const BACKLOG = 1024;
