import type { LookupFunction } from 'node:net';
import type { Address, TunnelSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';
import type { Link, LinkStream, OpenRequest, StreamHandler } from '../link/link.ts';
import { proxyHeader } from '../protocol/proxy-protocol.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { isOutOfDescriptors } from '../resources/descriptors.ts';
import { Bridge } from './bridge.ts';
import type { Connections, TunnelConnection } from './connections.ts';
import type { TunnelContext } from './context.ts';
import { type Dial, dial, dialResetReason } from './dial.ts';
import { ConnectionLog } from './connection-log.ts';
import type { Shedding } from './shedding.ts';
import { KEEPALIVE } from './tcp-listener.ts';

interface Origin {
  /** What to connect to. */
  readonly backend: Address;
  readonly settings: Pick<TunnelSettings, 'dialTimeout' | 'proxyProtocol'>;
  readonly request: OpenRequest;
  readonly link: Link;
  readonly context: TunnelContext;
  readonly connections: Connections;
  readonly shedding: Shedding;
  /** It is over. */
  readonly onOver: () => void;
  /** What the backend's name is resolved with; the system's when left out. */
  readonly lookup?: LookupFunction;
}

/**
 * The server's end of one connection. The backend is dialled at once; until it is connected, what the client sends stays in the stream, bounded by
 * its credit.
 *
 *     dialling ── connected ──▶ bridged ──▶ over
 *        └── failed, or reset by the client ──▶ over
 */
export class BackendConnection implements TunnelConnection, StreamHandler {
  readonly #stream: LinkStream;
  readonly #origin: Origin;
  readonly #log: ConnectionLog;
  readonly #dial: Dial;
  #bridge: Bridge | null = null;
  #over = false;

  constructor(stream: LinkStream, origin: Origin) {
    this.#stream = stream;
    this.#origin = origin;
    const { backend, settings, request, link, context, connections, lookup } = origin;
    this.#log = new ConnectionLog(context, request.tag, link);
    stream.handler = this;
    connections.add(this);
    const done = (error: QtunnelError | null): void => (error === null ? this.#connected() : this.#failed(error));
    this.#dial = dial(backend, settings.dialTimeout, done, lookup);
    setImmediate(this.#checkRoom);
  }

  abort(reason: ResetReason, message: string): void {
    if (this.#over) return;
    if (this.#bridge !== null) return this.#bridge.abort(reason, message);
    this.#dial.cancel();
    this.#stream.reset(reason, message);
    this.#end(reason, message);
  }

  onReadable(): void {
    // Read once there is somebody to give it to.
  }

  onWritable(): void {
    // Nothing was written yet.
  }

  onReset(reason: ResetReason, message: string): void {
    this.#dial.cancel();
    this.#end(reason, message);
  }

  /** The socket has its descriptor once the system has been asked to connect, or by the time it is connected when a name had to be resolved. */
  readonly #checkRoom = (): void => {
    if (this.#over || this.#bridge !== null) return;
    const shortage = this.#origin.shedding.refuseSocket(this.#dial.socket);
    if (shortage !== null) this.#giveUp(`the server has no room: ${shortage.message}`);
  };

  #connected(): void {
    this.#checkRoom();
    if (this.#over) return;
    this.#dial.socket.setKeepAlive(true, KEEPALIVE);
    const { settings, request } = this.#origin;
    if (settings.proxyProtocol) this.#dial.socket.write(proxyHeader(request.endpoints ?? null));
    this.#bridge = new Bridge(this.#dial.socket, this.#stream, {
      onSent: (bytes) => this.#log.sent(bytes),
      onReceived: (bytes) => this.#log.received(bytes),
      onEnd: (reason, message) => this.#end(reason, message),
    });
  }

  #failed(error: QtunnelError): void {
    if (this.#over) return;
    if (isOutOfDescriptors(error.cause)) {
      this.#origin.shedding.handleOutOfDescriptors();
      return this.#giveUp(error.message);
    }
    const reason = dialResetReason(error.code);
    this.#log.dialFailed(reason, error);
    this.#stream.reset(reason, error.message);
    this.#end(reason, error.message);
  }

  /** Has been said, for all that were refused together. */
  #giveUp(message: string): void {
    this.#dial.cancel();
    this.#origin.context.metrics.dialFailed('SERVER_BUSY');
    this.#stream.reset('RESOURCE', message);
    this.#end('RESOURCE', message);
  }

  #end(reason: ResetReason | null, message: string): void {
    this.#over = true;
    this.#log.closed(reason, message);
    this.#origin.connections.delete(this);
    this.#origin.onOver();
  }
}
