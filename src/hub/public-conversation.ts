import { formatAddress } from '../link/address.ts';
import { asQtunnelError } from '../errors.ts';
import type { Address } from '../config/settings.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { Agent } from './agents.ts';
import { type DatagramEnd, type DatagramHandler, StreamDatagrams, UdpTarget } from './datagrams.ts';
import { Passage } from './passage.ts';
import { isRefusal } from './retried-stream.ts';
import type { Carried, PublishedPort } from './published-port.ts';
import type { ConnectionState } from './publisher.ts';

/** What one client and the target of a UDP mapping say to each other. */
export class PublicConversation implements Carried, DatagramHandler {
  readonly #port: PublishedPort;
  readonly #passage: Passage;
  readonly #reply: (datagram: Uint8Array) => void;
  readonly #onOver: () => void;
  #end: DatagramEnd | null = null;
  /** Agents that it was given to. */
  readonly #tried = new Set<string>();
  #isAnswered = false;
  /** What the client said last, for the next agent; null once the target has answered. */
  #latest: Uint8Array | null = null;
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
      this.#end = carrier === 'hub' ? new UdpTarget(target, this) : this.#openStream(carrier);
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
    if (!this.#isAnswered) this.#latest = Uint8Array.from(datagram);
    if (!bandwidth.sent.tryPass(datagram.length) || !around.bandwidth.sent.tryPass(datagram.length)) return;
    this.#passage.countIn(datagram.length);
    this.#end?.send(datagram);
  }

  onDatagram(datagram: Uint8Array): void {
    const { bandwidth, around } = this.#port;
    this.lastHeard = performance.now();
    this.#isAnswered = true;
    this.#latest = null;
    if (!bandwidth.received.tryPass(datagram.length) || !around.bandwidth.received.tryPass(datagram.length)) return;
    this.#passage.countOut(datagram.length);
    this.#reply(datagram);
  }

  onClose(reason: ResetReason | null, message: string): void {
    if (reason === null || !isRefusal(reason) || !this.#askNext(reason, message)) this.#finish(reason, message);
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

  #openStream(agent: Agent): DatagramEnd {
    this.#tried.add(agent.registered.name);
    return new StreamDatagrams(this.#passage.openStream(agent, null), this);
  }

  /** Whether another agent carries it now, since this one does not reach the target. */
  #askNext(reason: ResetReason, message: string): boolean {
    const agent = this.#isAnswered || this.#passage.isOver ? null : this.#port.carrierBesides(this.#tried);
    if (agent === null) return false;
    this.#passage.refusedByAgent(reason, message);
    try {
      this.#end = this.#openStream(agent);
    } catch {
      return this.#askNext(reason, message);
    }
    if (this.#latest !== null) this.#end.send(this.#latest);
    return true;
  }

  #finish(reason: ResetReason | null, message: string): void {
    if (this.#passage.isOver) return;
    this.#passage.end(reason, message);
    this.#port.delete(this);
    this.#onOver();
  }
}
