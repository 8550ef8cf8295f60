import type { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';

/**
 * What a tunnel tells whoever runs it, besides its log. Called synchronously in the middle of the tunnel's work: an implementation neither
 * throws nor calls back into the tunnel.
 */
export interface TunnelEvents {
  onLinkUp(link: Link): void;
  /** The link takes no new connections any more; those that it has may go on. Called once for each link that was up. */
  onLinkDown(link: Link, reason: QtunnelError): void;
  /** A client's attempt to make a link failed; the next one follows after `retryIn` milliseconds. */
  onAttemptFailed(transport: Link['transport'], reason: QtunnelError, retryIn: number): void;
  /** A server turned somebody away, or he gave up; `peer` is `host:port`. */
  onTurnedAway(reason: QtunnelError, peer: string): void;
  onConnection(connection: ConnectionFacts): void;
  onConnectionEnd(connection: ConnectionFacts, end: ConnectionEnd): void;
}

export interface ConnectionFacts {
  /** 16 hexadecimal digits that are the same on both sides. */
  readonly tag: string;
  readonly link: Link;
}

export interface ConnectionEnd {
  /** Bytes of the connection that went into the tunnel, and that came out of it. */
  readonly sent: number;
  readonly received: number;
  /** Why it was cut off; null after a clean end. */
  readonly reason: ResetReason | null;
  readonly message: string;
}

/** For a tunnel that is only watched through its log. */
export const NO_EVENTS: TunnelEvents = {
  onLinkUp() {},
  onLinkDown() {},
  onAttemptFailed() {},
  onTurnedAway() {},
  onConnection() {},
  onConnectionEnd() {},
};
