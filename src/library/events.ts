import type { EventEmitter } from 'node:events';
import type { QtunnelError } from '../errors.ts';
import type { Link, LinkState } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { ConnectionFacts, TunnelEvents } from '../tunnel/events.ts';

/** What both sides tell. Every event comes in a turn of its own: a listener may use the tunnel, and what it throws is the program's. */
export interface LifecycleEvents {
  linkUp: [link: LinkInfo];
  /** The link takes no new connections any more. Comes once for each `linkUp`. */
  linkDown: [link: LinkInfo, reason: QtunnelError];
  connection: [connection: ConnectionInfo];
  connectionEnd: [connection: ConnectionEndInfo];
  /** Everything has ended, whether by `close()`, `drain()` or the signal. The last event. */
  close: [];
}

export interface ClientEvents extends LifecycleEvents {
  /** An attempt to make a link failed; the client makes another. */
  linkFailed: [reason: QtunnelError, attempt: FailedAttempt];
}

export interface ServerEvents extends LifecycleEvents {
  /** A client was turned away before it had proven itself; `peer` is `host:port`. */
  turnedAway: [reason: QtunnelError, peer: string];
}

/** A link as it was when asked for. */
export interface LinkInfo {
  /** 16 hexadecimal digits, the same on both sides. */
  readonly id: string;
  readonly transport: 'quic' | 'tls';
  /** The other side as `host:port`. */
  readonly peer: string;
  readonly state: LinkState;
  /** Connections that it carries. */
  readonly connections: number;
  /** Smoothed round-trip time in milliseconds; NaN until one was measured. */
  readonly rtt: number;
}

export interface ConnectionInfo {
  /** 16 hexadecimal digits that name the connection on both sides, in events and logs. */
  readonly tag: string;
  /** The `id` of the link that carries it. */
  readonly link: string;
  readonly transport: 'quic' | 'tls';
}

export interface ConnectionEndInfo extends ConnectionInfo {
  /** Bytes that went into the tunnel on this side, and that came out of it. */
  readonly sent: number;
  readonly received: number;
  /** Why it was cut off; null when both directions ended cleanly. */
  readonly reason: ResetReason | null;
  /** What there is to say about the reason; may be empty. */
  readonly message: string;
}

export interface FailedAttempt {
  readonly transport: 'quic' | 'tls';
  /** Milliseconds until the next one. */
  readonly retryIn: number;
}

export function linkInfo(link: Link): LinkInfo {
  const { id, transport, peer, state, streams } = link;
  return { id, transport, peer, state, connections: streams, rtt: link.stats().rtt };
}

/** Turns a tunnel's calls into events. `emitter` is asked at each: it does not exist before the tunnel has started. */
export function emitting(emitter: () => EventEmitter | null): TunnelEvents {
  const emit = (name: keyof (ClientEvents & ServerEvents), ...values: unknown[]): void => emitLater(emitter(), name, ...values);
  return {
    onLinkUp: (link) => emit('linkUp', linkInfo(link)),
    onLinkDown: (link, reason) => emit('linkDown', linkInfo(link), reason),
    onAttemptFailed: (transport, reason, retryIn) => emit('linkFailed', reason, { transport, retryIn }),
    onTurnedAway: (reason, peer) => emit('turnedAway', reason, peer),
    onConnection: (connection) => emit('connection', connectionInfo(connection)),
    onConnectionEnd: (connection, end) => emit('connectionEnd', { ...connectionInfo(connection), ...end }),
  };
}

/** In a turn of its own, so that a listener finds the tunnel at rest and cannot break what it is doing. */
export function emitLater(emitter: EventEmitter | null, name: string, ...values: unknown[]): void {
  process.nextTick(() => emitter?.emit(name, ...values));
}

function connectionInfo({ tag, link }: ConnectionFacts): ConnectionInfo {
  return { tag, link: link.id, transport: link.transport };
}
