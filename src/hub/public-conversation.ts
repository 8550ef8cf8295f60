import { formatAddress } from '../link/address.ts';
import { asQtunnelError } from '../errors.ts';
import type { Address } from '../config/settings.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { Agent } from './agents.ts';
import { type DatagramEnd, type DatagramHandler, StreamDatagrams, UdpTarget } from './datagrams.ts';
import { Passage } from './passage.ts';
import type { Carried, PublishedPort } from './published-port.ts';
import type { ConnectionState } from './publisher.ts';

/** What one client and the target of a UDP mapping say to each other. */
export class PublicConversation implements Carried, DatagramHandler {
  readonly #port: PublishedPort;
  readonly #passage: Passage;
  readonly #reply: (datagram: Uint8Array) => void;
  readonly #onOver: () => void;
  #end: DatagramEnd | null = null;
  /** Milliseconds of a steady clock: when either side said something last. */
  lastHeard: number;

  /** `reply` sends to the client. */
  constructor(client: Address, port: PublishedPort, reply: (datagram: Uint8Array) => void, onOver: () => void) {
    this.#port = port;
    this.#passage = new Passage(port, formatAddress(client));
    this.#reply = reply;
    this.#onOver = onOver;
    this.lastHeard = performance.now();
  }

  /** Opens the way to the target. False when there is none. */
  open(carrier: Agent | 'hub'): boolean {
    try {
      const { target } = this.#port.mapping;
      this.#end =
        carrier === 'hub' ? new UdpTarget(target, this) : new StreamDatagrams(this.#passage.openStream(carrier, null), this);
    } catch (error) {
      this.#port.failed(asQtunnelError(error).message);
      return false;
    }
    this.#passage.begin();
    this.#port.add(this);
    return true;
  }

  get state(): ConnectionState {
    return this.#passage.state;
  }

  /** The client said something. */
  handle(datagram: Uint8Array): void {
    const { bandwidth, around } = this.#port;
    this.lastHeard = performance.now();
    if (!bandwidth.sent.tryPass(datagram.length) || !around.bandwidth.sent.tryPass(datagram.length)) return;
    this.#passage.countIn(datagram.length);
    this.#end?.send(datagram);
  }

  onDatagram(datagram: Uint8Array): void {
    const { bandwidth, around } = this.#port;
    this.lastHeard = performance.now();
    if (!bandwidth.received.tryPass(datagram.length) || !around.bandwidth.received.tryPass(datagram.length)) return;
    this.#passage.countOut(datagram.length);
    this.#reply(datagram);
  }

  onClose(reason: ResetReason | null, message: string): void {
    this.#finish(reason, message);
  }

  /** Nobody has said anything for long. */
  expire(): void {
    this.#end?.close(null, '');
    this.#finish(null, '');
  }

  abort(reason: ResetReason, message: string): void {
    if (this.#passage.isOver) return;
    this.#end?.close(reason, message);
    this.#finish(reason, message);
  }

  #finish(reason: ResetReason | null, message: string): void {
    if (this.#passage.isOver) return;
    this.#passage.end(reason, message);
    this.#port.delete(this);
    this.#onOver();
  }
}
