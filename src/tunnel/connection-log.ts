import type { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { ClientCounts } from '../observe/tunnel-metrics.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { TunnelContext } from './context.ts';

/** What is counted and logged of one connection, the same on both sides. */
export class ConnectionLog {
  readonly #context: TunnelContext;
  readonly #tag: string;
  readonly #link: Link;
  /** What is counted of its named client; null without one. */
  readonly #client: ClientCounts | null;
  #sent = 0;
  #received = 0;

  constructor(context: TunnelContext, tag: string, link: Link) {
    this.#context = context;
    this.#tag = tag;
    this.#link = link;
    this.#client = link.client === undefined || link.client === '' ? null : context.metrics.client(link.client);
    context.metrics.streamOpened();
    if (this.#client !== null) this.#client.opened++;
    context.events.onConnection({ tag, link });
    context.log.debug(
      { event: 'stream_open', tag, link: link.id, ...clientOf(link), transport: link.transport },
      'connection opened',
    );
  }

  sent(bytes: number): void {
    this.#sent += bytes;
    this.#context.metrics.bytes('sent', bytes);
    if (this.#client !== null) this.#client.sent += bytes;
  }

  received(bytes: number): void {
    this.#received += bytes;
    this.#context.metrics.bytes('received', bytes);
    if (this.#client !== null) this.#client.received += bytes;
  }

  dialFailed(reason: ResetReason, error: QtunnelError): void {
    this.#context.metrics.dialFailed(error.code);
    this.#context.log.warn(
      { event: 'dial_failed', tag: this.#tag, link: this.#link.id, ...clientOf(this.#link), reason },
      error.message,
    );
  }

  /** `reason` is null after a clean end. */
  closed(reason: ResetReason | null, message: string): void {
    const { log, metrics, events } = this.#context;
    metrics.streamClosed();
    if (this.#client !== null) this.#client.closed++;
    events.onConnectionEnd({ tag: this.#tag, link: this.#link }, { sent: this.#sent, received: this.#received, reason, message });
    const fields = { tag: this.#tag, link: this.#link.id, ...clientOf(this.#link), sent: this.#sent, received: this.#received };
    if (reason === null) log.debug({ event: 'stream_closed', ...fields }, 'connection closed');
    else log.debug({ event: 'stream_closed', ...fields, reason }, `connection cut off: ${message === '' ? reason : message}`);
  }
}

/** The field that names a link's client, where it has a name. */
export function clientOf({ client = '' }: Link): { client?: string } {
  return client === '' ? {} : { client };
}
