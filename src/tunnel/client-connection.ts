import type { Socket } from 'node:net';
import { asQtunnelError } from '../errors.ts';
import type { Link, LinkStream } from '../link/link.ts';
import { setPatientTimer } from '../link/patient-timer.ts';
import type { RateLimitedLog } from '../observe/rate-limit.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { type Bandwidth, throttled } from './bandwidth.ts';
import { Bridge } from './bridge.ts';
import { ConnectionLog } from './connection-log.ts';
import type { Connections, TunnelConnection } from './connections.ts';
import type { TunnelContext } from './context.ts';
import { endpointsFor } from './endpoints.ts';
import { newTag } from './tag.ts';
import type { Uplinks } from './uplinks.ts';

/** What a client's connections need of its tunnel. */
export interface ClientSurroundings {
  readonly uplink: Uplinks;
  readonly context: TunnelContext;
  readonly connections: Connections;
  readonly log: RateLimitedLog;
  readonly bandwidth: Bandwidth;
  /** The name of the server's backend; empty for the one without. */
  readonly target: string;
  /** Milliseconds that the connection waits for a link. */
  readonly dialTimeout: number;
}

/**
 * The client's end of one connection.
 *
 *     accepted ── a link is up ──▶ bridged ──▶ over
 *        └── none within -dial-timeout, or gone before ──▶ over (TCP reset)
 */
export class ClientConnection implements TunnelConnection {
  readonly #socket: Socket;
  readonly #around: ClientSurroundings;
  readonly #tag = newTag();
  #bridge: Bridge | null = null;
  #stopWaiting: () => void = () => {};
  #over = false;

  constructor(socket: Socket, around: ClientSurroundings) {
    this.#socket = socket;
    this.#around = around;
    around.connections.add(this);
    const link = around.uplink.current();
    if (link !== null && link.state !== 'draining' && link.state !== 'closed') this.#open(link);
    else this.#wait();
  }

  abort(reason: ResetReason, message: string): void {
    if (this.#over) return;
    if (this.#bridge !== null) return this.#bridge.abort(reason, message);
    this.#stopWaiting();
    this.#socket.resetAndDestroy();
    this.#end();
  }

  #wait(): void {
    const { uplink, dialTimeout, log } = this.#around;
    const gone = (): void => this.abort('RESET', 'the application hung up');
    const timer = setPatientTimer(() => {
      log.warn(
        'no_link',
        { event: 'stream_reset', tag: this.#tag, reason: 'LINK_LOST' },
        `no link within ${dialTimeout} ms (-dial-timeout): connection reset`,
      );
      this.abort('LINK_LOST', 'no link');
    }, dialTimeout);
    const unsubscribe = uplink.whenUp((link) => {
      this.#stopWaiting();
      this.#open(link);
    });
    this.#socket.on('close', gone).on('error', gone);
    this.#stopWaiting = () => {
      timer.cancel();
      unsubscribe();
      this.#socket
        .off('close', gone)
        .off('error', gone)
        .on('error', () => {});
    };
  }

  #open(link: Link): void {
    let stream: LinkStream;
    try {
      stream = link.open({ tag: this.#tag, target: this.#around.target, endpoints: endpointsFor(link, this.#socket) });
    } catch (error) {
      const { code, message } = asQtunnelError(error);
      this.#around.log.warn(code, { event: 'stream_reset', tag: this.#tag, reason: code }, `connection reset: ${message}`);
      this.#socket.on('error', () => {}).resetAndDestroy();
      return this.#end();
    }
    const log = new ConnectionLog(this.#around.context, this.#tag, link);
    this.#bridge = new Bridge(this.#socket, throttled(stream, [this.#around.bandwidth]), {
      onSent: (bytes) => log.sent(bytes),
      onReceived: (bytes) => log.received(bytes),
      onEnd: (reason, message) => {
        if (reason !== null) this.#warnOfReset(link, reason, message);
        log.closed(reason, message);
        this.#end();
      },
    });
  }

  /** What went wrong beyond the application's own resets is worth a line at the usual level. */
  #warnOfReset(link: Link, reason: ResetReason, message: string): void {
    const fields = { event: 'stream_reset', tag: this.#tag, link: link.id, reason };
    const { context, log } = this.#around;
    if (reason === 'RESET') context.log.debug(fields, `connection reset: ${message}`);
    else log.warn(`reset ${reason}`, fields, `connection reset: ${message === '' ? reason : message}`);
  }

  #end(): void {
    this.#over = true;
    this.#around.connections.delete(this);
  }
}
