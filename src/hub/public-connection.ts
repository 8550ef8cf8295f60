import type { Socket } from 'node:net';
import { asQtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import type { LinkStream } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { isOutOfDescriptors } from '../resources/descriptors.ts';
import { throttled } from '../tunnel/bandwidth.ts';
import { Bridge } from '../tunnel/bridge.ts';
import { type Dial, dial } from '../tunnel/dial.ts';
import { KEEPALIVE } from '../tunnel/tcp-listener.ts';
import type { Agent } from './agents.ts';
import { Passage } from './passage.ts';
import type { Carried, PublishedPort } from './published-port.ts';
import type { ConnectionState } from './publisher.ts';
import { RetriedStream } from './retried-stream.ts';
import { SocketStream } from './socket-stream.ts';

/**
 * A connection that came in on a public port.
 *
 *     accepted ── an agent is here ──▶ bridged with a stream to it (retried-stream.ts) ──▶ over
 *        │── direct: dialling ── connected ──▶ bridged with the target ──▶ over
 *        └── nobody to carry it, or not to be dialled ──▶ over (TCP reset)
 */
export class PublicConnection implements Carried {
  readonly #socket: Socket;
  readonly #port: PublishedPort;
  readonly #passage: Passage;
  #dial: Dial | null = null;
  #bridge: Bridge | null = null;

  constructor(socket: Socket, port: PublishedPort) {
    this.#socket = socket;
    this.#port = port;
    this.#passage = new Passage(port, peerOf(socket));
    port.add(this);
    const { carrier } = port;
    if (carrier === 'hub') this.#dialTarget();
    else if ('problem' in carrier) this.#refuse('away', carrier.problem);
    else this.#openStream(carrier);
  }

  get state(): ConnectionState {
    return this.#passage.state;
  }

  abort(reason: ResetReason, message: string): void {
    if (this.#passage.isOver) return;
    if (this.#bridge !== null) return this.#bridge.abort(reason, message);
    this.#dial?.cancel();
    this.#socket.on('error', () => {}).resetAndDestroy();
    this.#end(reason, message);
  }

  #openStream(agent: Agent): void {
    try {
      this.#join(this.#streamTo(agent));
    } catch (error) {
      const { code, message } = asQtunnelError(error);
      this.#refuse(code, message);
    }
  }

  /** A stream to this agent, or to the next that offers the target when it does not reach it. @throws QtunnelError as `Link.open` */
  #streamTo(first: Agent): LinkStream {
    const tried = new Set([first.registered.name]);
    const next = (): LinkStream | null => {
      for (let agent = this.#port.carrierBesides(tried); agent !== null; agent = this.#port.carrierBesides(tried)) {
        tried.add(agent.registered.name);
        try {
          return this.#passage.openStream(agent, this.#socket);
        } catch {
          // Its link takes no more streams: the one after it may.
        }
      }
      return null;
    };
    const stream = this.#openFirst(first, next);
    if (this.#port.carrierBesides(tried) === null) return stream;
    return new RetriedStream(stream, (reason, message) => {
      if (this.#port.carrierBesides(tried) !== null) this.#passage.refusedByAgent(reason, message);
      return next();
    });
  }

  #openFirst(agent: Agent, next: () => LinkStream | null): LinkStream {
    try {
      return this.#passage.openStream(agent, this.#socket);
    } catch (error) {
      const other = next();
      if (other === null) throw error;
      return other;
    }
  }

  #dialTarget(): void {
    const { around, mapping } = this.#port;
    const gone = (): void => this.abort('RESET', 'the client hung up');
    this.#socket.on('close', gone).on('error', gone);
    this.#dial = dial(mapping.target, around.limits().dialTimeout, (error) => {
      if (this.#passage.isOver) return;
      this.#socket
        .off('close', gone)
        .off('error', gone)
        .on('error', () => {});
      if (error !== null && isOutOfDescriptors(error.cause)) around.shedding.handleOutOfDescriptors();
      if (error !== null) {
        around.context.metrics.dialFailed(error.code);
        return this.#refuse(error.code, error.message);
      }
      const { socket } = this.#dial!;
      socket.setKeepAlive(true, KEEPALIVE);
      const stream = new SocketStream(socket);
      this.#join(stream);
      stream.start();
    });
  }

  #join(stream: LinkStream): void {
    const { around, bandwidth } = this.#port;
    this.#passage.begin();
    this.#bridge = new Bridge(this.#socket, throttled(stream, [bandwidth, around.bandwidth]), {
      onSent: (bytes) => this.#passage.countIn(bytes),
      onReceived: (bytes) => this.#passage.countOut(bytes),
      onEnd: (reason, message) => this.#end(reason, message),
    });
  }

  #refuse(kind: string, message: string): void {
    this.#port.refuse(this.#socket, kind, message);
    this.#end(null, message);
  }

  #end(reason: ResetReason | null, message: string): void {
    this.#passage.end(reason, message);
    this.#port.delete(this);
  }
}

/** A client, as `host:port`. */
export function peerOf({ remoteAddress = '?', remotePort = 0 }: Socket): string {
  return formatAddress({ host: remoteAddress, port: remotePort });
}
