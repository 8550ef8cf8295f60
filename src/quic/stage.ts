import type { QtunnelError } from '../errors.ts';
import type { UdpAddress } from '../udp/socket.ts';

/**
 * What a connection is busy with. A connection has one stage at a time and hands it what happens; stages hand over to each other:
 *
 *     client   ClientGreeting ──(WELCOME checked)──▶ QuicLink ──▶ closed
 *     client with a ticket   EarlyGreeting, which has the QuicLink already ──(WELCOME checked)──▶ QuicLink ──▶ closed
 *     server   ServerGreeting ──(HELLO checked)────▶ QuicLink ──▶ closed
 */
export interface Stage {
  /** The QUIC handshake is complete. */
  onEstablished(): void;
  /** Something was received: streams may have become readable. */
  onReceived(now: number): void;
  /** A turn comes to its end: the last moment to write before packets are made. */
  onTurn(now: number): void;
  /** When `onTurn` is wanted even if nothing happens; Infinity for never. Milliseconds on the connection's clock. */
  deadline(now: number): number;
  /** This side's end has moved to another local address. */
  onMove(local: UdpAddress): void;
  /** The connection has ended. Called once; nothing is called after it. */
  onClosed(reason: QtunnelError): void;
}

/** The stream of the control frames (docs/PROTOCOL.md, "QUIC"). */
export const CONTROL_STREAM = 0;
