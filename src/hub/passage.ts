import type { Socket } from 'node:net';
import type { LinkStream } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { endpointsFor } from '../tunnel/endpoints.ts';
import { newTag } from '../tunnel/tag.ts';
import type { Agent } from './agents.ts';
import { mappingKey } from './mapping.ts';
import type { PublishedPort } from './published-port.ts';
import type { ConnectionState } from './publisher.ts';
import { encodeTarget } from './target.ts';

/** What is counted and logged of one connection, or conversation over UDP, at a public port. */
export class Passage {
  readonly #port: PublishedPort;
  readonly #tag = newTag();
  readonly #since = new Date();
  readonly #peer: string;
  #agent: Agent | null = null;
  #begun = false;
  #over = false;
  #bytesIn = 0;
  #bytesOut = 0;

  /** `peer` is the client, as `host:port`. */
  constructor(port: PublishedPort, peer: string) {
    this.#port = port;
    this.#peer = peer;
  }

  get isOver(): boolean {
    return this.#over;
  }

  get state(): ConnectionState {
    const { protocol, port } = this.#port.mapping;
    return {
      tag: this.#tag,
      protocol,
      port,
      peer: this.#peer,
      agent: this.#agent?.registered.name ?? '',
      since: this.#since,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    };
  }

  /** A stream to the agent for it, in the place of the agent before; `socket` is the client's connection, if it has one. @throws QtunnelError as `Link.open`. */
  openStream(agent: Agent, socket: Socket | null): LinkStream {
    const { protocol, target: address } = this.#port.mapping;
    const endpoints = socket === null ? null : endpointsFor(agent.link, socket);
    const stream = agent.link.open({ tag: this.#tag, target: encodeTarget({ protocol, address }), endpoints });
    if (this.#agent !== null) this.#agent.connections--;
    this.#agent = agent;
    agent.connections++;
    return stream;
  }

  /** Its agent does not reach the target, and another one is asked. */
  refusedByAgent(reason: ResetReason, message: string): void {
    const fields = { event: 'agent_failed', ...this.#about, reason };
    this.#port.failed(message);
    this.#port.around.log.warn('agent_failed', fields, `the agent does not reach the target, another one is asked: ${message}`);
  }

  /** It is carried from now on. */
  begin(): void {
    const { metrics, log } = this.#port.around.context;
    this.#begun = true;
    this.#port.connectionsTotal++;
    metrics.streamOpened();
    log.debug({ event: 'stream_open', ...this.#about }, 'connection opened');
  }

  countIn(bytes: number): void {
    this.#bytesIn += bytes;
    this.#port.bytesIn += bytes;
    this.#port.around.context.metrics.bytes('sent', bytes);
  }

  countOut(bytes: number): void {
    this.#bytesOut += bytes;
    this.#port.bytesOut += bytes;
    this.#port.around.context.metrics.bytes('received', bytes);
  }

  /** It is over; `reason` is null after a clean end. */
  end(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#agent !== null) this.#agent.connections--;
    if (!this.#begun) return;
    const { context, ended } = this.#port.around;
    context.metrics.streamClosed();
    const fields = { event: 'stream_closed', ...this.#about, sent: this.#bytesIn, received: this.#bytesOut };
    if (reason === null) context.log.debug(fields, 'connection closed');
    else this.#tellReset(reason, message, fields);
    ended(this.state);
  }

  /** What went wrong beyond the applications' own resets is worth a line at the usual level. */
  #tellReset(reason: ResetReason, message: string, fields: object): void {
    const { context, log } = this.#port.around;
    const text = `connection cut off: ${message === '' ? reason : message}`;
    if (reason === 'RESET' || reason === 'SHUTDOWN') return context.log.debug({ ...fields, reason }, text);
    this.#port.failed(message === '' ? `A connection was cut off (${reason}).` : message);
    if (FAILED_DIALS.has(reason)) this.#port.refusedTotal++;
    log.warn(`reset ${reason}`, { ...fields, reason }, text);
  }

  get #about(): object {
    const agent = this.#agent;
    return {
      tag: this.#tag,
      mapping: mappingKey(this.#port.mapping),
      peer: this.#peer,
      ...(agent !== null && { agent: agent.registered.name, link: agent.link.id }),
    };
  }
}

const FAILED_DIALS: ReadonlySet<ResetReason> = new Set([
  'DIAL_REFUSED',
  'DIAL_TIMEOUT',
  'DIAL_UNREACHABLE',
  'DIAL_NAME_NOT_FOUND',
  'NO_BACKEND',
]);
