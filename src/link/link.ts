import type { QtunnelError } from '../errors.ts';
import type { Endpoints } from '../protocol/proxy-protocol.ts';
import type { ResetReason } from '../protocol/reset.ts';

/**
 * A link joins a client and a server and carries streams between them. The tunnel knows only this interface; `quic/` and `tls/`
 * implement it, and test/link/contract.ts is the suite that both pass.
 *
 * All calls are synchronous and none of them throws for what a peer or the network did: that arrives through the handlers.
 *
 *     up ──▶ stalled ──▶ up          nothing heard from the peer for a while; streams live on, new ones are better off elsewhere
 *      │        │
 *      ├────────┴──▶ draining        opens no more streams; closes by itself when the last one has ended
 *      ▼                │
 *     closed ◀──────────┘            for good; every stream has been reset
 */
export type LinkState = 'up' | 'stalled' | 'draining' | 'closed';

export interface Link {
  readonly transport: 'quic' | 'tls';
  /** 16 hexadecimal digits, chosen by the client; the same on both sides, for matching their logs. */
  readonly id: string;
  /** The peer's address as `host:port`, with brackets around IPv6. */
  readonly peer: string;
  readonly state: LinkState;
  /** How its UDP socket sends and receives (`-udp`), for the log; left out over TLS. */
  readonly udp?: string;
  /** On a server: the name of the client that has proven itself; empty or left out for one without. */
  readonly client?: string;
  /** True when the peer has asked to be told each connection's endpoints. */
  readonly wantsEndpoints?: boolean;
  /** True for one worker's part of a link that another worker keeps: over TLS a link has many connections, and each may come to another worker. */
  readonly isBranch?: boolean;
  /** Streams that have not ended in both directions. */
  readonly streams: number;
  /** File descriptors that streams of it still wait for; left out where they need none. */
  readonly descriptorsDue?: number;
  handler: LinkHandler;

  /**
   * Opens a stream. The request travels with the stream's first bytes, so that opening costs no round trip. The client may always, the server when both
   * sides were made with `LinkOptions.serverOpens`.
   * @throws QtunnelError `LINK_CLOSED` when the link is draining or closed, `STREAM_LIMIT` when the peer's limit is reached or it takes no streams.
   */
  open(request: OpenRequest): LinkStream;
  /** Opens no more streams, tells the peer so, and closes when the last stream has ended. */
  drain(): void;
  /** Ends the link at once; streams that are still there are reset on both sides. */
  close(reason: QtunnelError): void;
  stats(): LinkStats;
}

export interface LinkHandler {
  /** The peer opened a stream. The callee sets `stream.handler` before it returns, or resets the stream. */
  onStream(stream: LinkStream, request: OpenRequest): void;
  onStateChange(state: LinkState): void;
  /** This side's end has another address now, `host:port`: the link goes on from there. */
  onMove?(local: string): void;
  /** Said once of a link that began with early data, as soon as it is known: whether the ticket for it opened, or all was sent again after a full handshake. */
  onEarlyData?(taken: boolean): void;
  /** Called once, when the state becomes `closed`; `reason` says why. */
  onClose(reason: QtunnelError): void;
}

export interface OpenRequest {
  /** 16 hexadecimal digits that name this connection in the logs of both sides. */
  readonly tag: string;
  /** The name of the server's backend that is asked for; empty for the one without a name. */
  readonly target: string;
  /** Between which addresses the connection is, for a link that `wantsEndpoints`; null when that is not known. */
  readonly endpoints?: Endpoints | null;
}

/** One direction each way of bytes in order, with half-close and reset as in TCP. */
export interface LinkStream {
  readonly id: number;
  handler: StreamHandler;

  /**
   * Copies what has arrived into `into`, as read(2) does: the number of bytes (> 0), `NOTHING_YET`, or `END` after the last byte.
   * What has been read counts as consumed: it lets the peer send as much again. After `NOTHING_YET`, `onReadable` is called when
   * that changes.
   */
  read(into: Uint8Array): number;
  /**
   * Takes as much of `chunk` as the stream has room for and returns how many bytes that was (0 … length). The bytes are copied: the
   * caller may reuse the chunk. When it took less than all, `onWritable` is called once when there is room again.
   */
  write(chunk: Uint8Array): number;
  /**
   * Sends a copy of a datagram of up to 65,507 bytes (RFC 768 over IPv4) besides the stream's bytes: it may be lost, overtaken, or dropped at once where there is
   * no room, in which case this returns false. Nothing goes to a peer that does not take any (`LinkOptions.datagrams`). Left out where a stream has none.
   */
  sendDatagram?(datagram: Uint8Array): boolean;
  /** Says that no more will be written. Everything written before arrives first. */
  end(): void;
  /** Cuts off both directions. The peer's handler gets `onReset` with this reason; this side's handler is not called again. */
  reset(reason: ResetReason, message?: string): void;
}

export interface StreamHandler {
  /** Something can be read (bytes or the end). Called again as long as something is left unread and the stream has a turn. */
  onReadable(): void;
  onWritable(): void;
  /** A datagram of the peer's, valid during the call only. */
  onDatagram?(datagram: Uint8Array): void;
  /** The peer cut the stream off, or the link was lost. Nothing is called after it. */
  onReset(reason: ResetReason, message: string): void;
}

/** What `LinkStream.read` returns besides a number of bytes. */
export const NOTHING_YET = 0;
export const END = -1;

export interface LinkStats {
  /** Smoothed round-trip time in milliseconds; NaN until one was measured. */
  readonly rtt: number;
  /** Congestion window in bytes; NaN where the transport does not tell. */
  readonly congestionWindow: number;
  /** Packets sent and packets declared lost since the link came up; NaN where the transport does not tell. */
  readonly packetsSent: number;
  readonly packetsLost: number;
  /** Parity shards sent, and lost shards that the peer's parity brought back; NaN where there is no parity. */
  readonly paritySent: number;
  readonly shardsRestored: number;
  /** Datagrams of streams that this side has dropped: for want of room, of a part, or of their stream. */
  readonly datagramsDropped: number;
  /** Bytes on the wire as far as the transport counts them. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Estimated delivery rate in bytes per second; NaN where the transport does not tell. */
  readonly deliveryRate: number;
}
