import type { LookupFunction } from 'node:net';
import type { Address } from '../config/settings.ts';
import type { Link, LinkStream } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { Bandwidth } from '../tunnel/bandwidth.ts';
import { ConnectionLog } from '../tunnel/connection-log.ts';
import type { Connections, TunnelConnection } from '../tunnel/connections.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { StreamDatagrams, UdpTarget } from './datagrams.ts';

interface Origin {
  readonly target: Address;
  /** What the target's name is resolved with; the system's when left out. */
  readonly lookup?: LookupFunction;
  readonly tag: string;
  readonly link: Link;
  readonly context: TunnelContext;
  readonly connections: Connections;
  readonly bandwidth: Bandwidth;
}

/** The agent's end of a conversation over UDP, which lasts until the hub ends it. */
export class AgentConversation implements TunnelConnection {
  readonly #origin: Origin;
  readonly #log: ConnectionLog;
  readonly #hub: StreamDatagrams;
  readonly #target: UdpTarget;
  #over = false;

  constructor(stream: LinkStream, origin: Origin) {
    const { target, lookup, tag, link, context, connections, bandwidth } = origin;
    this.#origin = origin;
    this.#log = new ConnectionLog(context, tag, link);
    connections.add(this);
    this.#hub = new StreamDatagrams(stream, {
      onDatagram: (datagram) => {
        if (!bandwidth.received.tryPass(datagram.length)) return;
        this.#log.received(datagram.length);
        this.#target.send(datagram);
      },
      onClose: (reason, message) => {
        this.#target.close();
        this.#end(reason, message);
      },
    });
    const handler = {
      onDatagram: (datagram: Uint8Array) => {
        if (!bandwidth.sent.tryPass(datagram.length)) return;
        this.#log.sent(datagram.length);
        this.#hub.send(datagram);
      },
      onClose: (reason: ResetReason | null, message: string) => {
        this.#hub.close(reason, message);
        this.#end(reason, message);
      },
    };
    this.#target = new UdpTarget(target, handler, lookup);
    // What came before the target was there.
    this.#hub.onReadable();
  }

  abort(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#hub.close(reason, message);
    this.#target.close();
    this.#end(reason, message);
  }

  #end(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#log.closed(reason, message);
    this.#origin.connections.delete(this);
  }
}
