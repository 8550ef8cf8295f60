import { QtunnelError } from '../errors.ts';
import { IGNORE } from './bind.ts';
import type { UdpAddress, UdpHandler, UdpSocket } from './socket.ts';

/**
 * A connected socket that can be exchanged for a fresh one to the same peer, with the local address that the system chooses by then: when an interface has gone, or
 * carries nothing any more. What still comes to the old one is taken until something has come to the new one.
 */
export class MovingSocket implements UdpSocket {
  handler: UdpHandler = IGNORE;
  readonly #open: () => Promise<UdpSocket>;
  #current: UdpSocket;
  #old: UdpSocket | null = null;
  #isMoving = false;
  #closed = false;

  constructor(first: UdpSocket, open: () => Promise<UdpSocket>) {
    this.#open = open;
    this.#current = first;
    this.#attach(first);
  }

  get address(): UdpAddress {
    return this.#current.address;
  }

  get sendBuffer(): Uint8Array {
    return this.#current.sendBuffer;
  }

  get kind(): string {
    return this.#current.kind;
  }

  get keepsWhole(): boolean {
    return this.#current.keepsWhole;
  }

  send(length: number, segment: number, to: UdpAddress): void {
    this.#current.send(length, segment, to);
  }

  close(): void {
    this.#closed = true;
    this.handler = IGNORE;
    this.#current.close();
    this.#old?.close();
  }

  /**
   * Takes a fresh socket and returns its local address; `failed` when none can be had. Everything stays as it is when one is on its way already, and with
   * `onlyElsewhere` when the system still chooses the same local address. Nothing may be waiting in `sendBuffer` when it is called, nor when events are handled.
   */
  async move(onlyElsewhere = false): Promise<UdpAddress | 'stays' | 'failed'> {
    if (this.#isMoving || this.#closed) return 'stays';
    this.#isMoving = true;
    try {
      const fresh = await this.#open();
      if (this.#closed || (onlyElsewhere && fresh.address.host === this.address.host)) {
        fresh.close();
        return 'stays';
      }
      this.#old?.close();
      this.#old = this.#current;
      this.#current = fresh;
      this.#attach(fresh);
      return fresh.address;
    } catch (error) {
      // No route to the peer, or no descriptor: the one that there is may come back to life as well.
      if (!(error instanceof QtunnelError)) throw error;
      return 'failed';
    } finally {
      this.#isMoving = false;
    }
  }

  #attach(socket: UdpSocket): void {
    socket.handler = {
      onDatagram: (bytes, offset, length, from) => {
        if (socket === this.#current) this.#dropOld();
        this.handler.onDatagram(bytes, offset, length, from);
      },
      onError: (error) => {
        if (socket === this.#current) this.handler.onError(error);
      },
    };
  }

  #dropOld(): void {
    if (this.#old === null) return;
    this.#old.close();
    this.#old = null;
  }
}
