import type { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { TunnelContext } from './context.ts';

/** What is counted and logged of one connection, the same on both sides. */
export class ConnectionLog {
  readonly #context: TunnelContext;
  readonly #tag: string;
  readonly #link: Link;
  #sent = 0;
  #received = 0;

  constructor(context: TunnelContext, tag: string, link: Link) {
    this.#context = context;
    this.#tag = tag;
    this.#link = link;
    context.metrics.streamOpened();
    context.events.onConnection({ tag, link });
    context.log.debug({ event: 'stream_open', tag, link: link.id, transport: link.transport }, 'connection opened');
  }

  sent(bytes: number): void {
    this.#sent += bytes;
    this.#context.metrics.bytes('sent', bytes);
  }

  received(bytes: number): void {
    this.#received += bytes;
    this.#context.metrics.bytes('received', bytes);
  }

  dialFailed(reason: ResetReason, error: QtunnelError): void {
    this.#context.metrics.dialFailed(error.code);
    this.#context.log.warn({ event: 'dial_failed', tag: this.#tag, link: this.#link.id, reason }, error.message);
  }

  /** `reason` is null after a clean end. */
  closed(reason: ResetReason | null, message: string): void {
    const { log, metrics, events } = this.#context;
    metrics.streamClosed();
    events.onConnectionEnd({ tag: this.#tag, link: this.#link }, { sent: this.#sent, received: this.#received, reason, message });
    const fields = { tag: this.#tag, link: this.#link.id, sent: this.#sent, received: this.#received };
    if (reason === null) log.debug({ event: 'stream_closed', ...fields }, 'connection closed');
    else log.debug({ event: 'stream_closed', ...fields, reason }, `connection cut off: ${message === '' ? reason : message}`);
  }
}
