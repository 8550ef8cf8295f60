import type { Socket } from 'node:net';
import type { QtunnelError } from '../errors.ts';
import type { Hmac, KeysOf, Recognition } from '../protocol/handshake.ts';
import type { SourceLimits, SourceRecords, SourceRefusal } from '../protocol/sources.ts';
import type { Link } from './link.ts';

/** What a link is used for besides streams that the client opens; each where both sides say so. */
export interface LinkUse {
  /** Whether the server may open streams, too; false when left out. */
  readonly serverOpens?: boolean;
  /** Whether streams may have datagrams besides their bytes; false when left out. */
  readonly datagrams?: boolean;
}

/** What both sides of a link need to know, whatever carries it. */
export interface LinkOptions extends LinkUse {
  readonly auth: LinkAuth;
  /** Milliseconds of silence after which a side asks whether the other is still there. */
  readonly keepalive: number;
  /** Milliseconds without an answer after which a link counts as stalled, at least three round trips and at most `STALL`; left out for `STALL`. */
  readonly stall?: number;
  /** Milliseconds of silence after which a side gives the link up. */
  readonly idleTimeout: number;
  /** Streams the peer may have open at once. */
  readonly maxStreams: number;
  /** The most bytes that a stream holds for a reader that does not read. */
  readonly buffer: number;
  /** Over TLS: false when streams may not begin on the control connection, because the others come to other processes. */
  readonly lane?: boolean;
  /** Whether the peer is asked to tell each connection's endpoints. */
  readonly wantsEndpoints: boolean;
  /** Name and version, told to the peer for its log. */
  readonly software: string;
  /** What a server takes from clients that have not proven themselves; without meaning for a client. */
  readonly strangers: StrangerLimits;
  /** What a server remembers of who has failed, which its transports share; of this transport alone when left out. */
  readonly sources?: SourceRecords;
}

export interface StrangerLimits extends SourceLimits {
  /** Milliseconds until the client has proven itself. */
  readonly timeout: number;
  /** Over QUIC, until then. */
  readonly bytes: number;
  readonly datagrams: number;
  /** Over QUIC: handshakes that are open when further ones get Retry (RFC 9000 §8.1.2). */
  readonly retryAbove: number;
}

/** Why something of a stranger's was not taken (docs/SECURITY.md). */
export type Refusal = SourceRefusal | 'secret' | 'replay' | 'clock' | 'memory' | 'bytes' | 'datagrams' | 'retry';

export interface LinkAuth {
  readonly hmac: Hmac;
  /** The stretched secret; null without one. */
  readonly key: Uint8Array | null;
  /** A client's name; empty or left out without one. */
  readonly client?: string | undefined;
  /** A server: which keys clients may prove themselves with; `key` alone when left out. */
  readonly keysOf?: KeysOf | undefined;
  /** A server: all of those keys, of clients without a name and of those with one; `key` alone when left out. */
  readonly allKeys?: { readonly own: readonly Uint8Array[]; readonly named: readonly Uint8Array[] } | undefined;
  /** A server: whether there may be clients without a secret; when left out, whether there is no key. */
  readonly isOpen?: boolean | undefined;
  /** A server that wants certificates of its clients; null or left out for one that asks for none. */
  readonly judgeClient?: JudgeClient | null | undefined;
  /** A client: the certificate that it shows to a server that asks for one; null or left out without one. */
  readonly certificate?: ClientKeys | null | undefined;
}

/** Whether a client may be one without any secret, so that there is nothing to be silent about. */
export function isOpen({ key, keysOf, isOpen: said }: LinkAuth): boolean {
  return said ?? (key === null && keysOf === undefined);
}

/**
 * The server's judgement on a client that claims a name, or none (empty), and on the certificates that it showed (DER, its own first; none when it has
 * none). TLS has made sure that it has the key of the first, and of nothing else.
 */
export type JudgeClient = (claimed: string, chain: readonly Uint8Array[]) => Recognition;

export function wantsCertificates({ judgeClient }: LinkAuth): boolean {
  return judgeClient !== null && judgeClient !== undefined;
}

/** For the greeting of a client that showed these certificates. */
export function recogniser(
  { judgeClient }: LinkAuth,
  chain: readonly Uint8Array[],
): ((claimed: string) => Recognition) | undefined {
  return judgeClient === null || judgeClient === undefined ? undefined : (claimed) => judgeClient(claimed, chain);
}

/** What a client presents. */
export interface ClientKeys {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** SHA-256 of the certificate: 64 lower-case hexadecimal digits. */
  readonly fingerprint: string;
}

/** The client's judgement on the server's certificates (DER, the server's own first), made during the handshake. Throws QtunnelError to refuse. */
export type CheckServer = (chain: Uint8Array[]) => void;

/** Where a client connects to: an IP address, already resolved, and the name it was resolved from. */
export interface LinkTarget {
  readonly host: string;
  readonly port: number;
  readonly serverName: string;
}

/** What a server presents. */
export interface ServerKeys {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly certificateDer: Uint8Array;
  /** 32 bytes derived from the private key; connection ids are made with it. */
  readonly nodeKey: Uint8Array;
}

/** A server's ear on one transport. */
export interface LinkListener<Options extends LinkOptions = LinkOptions> {
  readonly address: { readonly host: string; readonly port: number };
  /** Handshakes that are open: those who have come and not proven themselves. */
  readonly handshakes: number;
  /** A client has proven itself. The callee sets `link.handler` before it returns. */
  onLink: (link: Link) => void;
  /** Somebody came and was turned away, or gave up; `peer` is `host:port`. */
  onHandshakeFailure: (error: QtunnelError, peer: string) => void;
  /** Whether the process has a descriptor for this TCP connection. */
  hasRoom: (socket: Socket) => boolean;
  /** Why a client that has proven itself cannot have a link now, for it and for the log; null when it can. */
  refuseLink: (who: Pick<Link, 'client' | 'peer'>) => QtunnelError | null;
  /** Something of a stranger's was not taken; called for each datagram of a flood, so it only counts. */
  onRefusal: (refusal: Refusal) => void;
  /**
   * Gets ready what links are to be made with: these options, and this certificate. The function that it returns lets them count, and does not fail; links that are there, and those whose
   * handshake is under way, keep theirs.
   * @throws QtunnelError `CERT_INVALID`, `CERT_KEY_MISMATCH`, `INTERNAL`; nothing has changed then.
   */
  prepare(options: Options, keys: ServerKeys): () => void;
  /**
   * Takes no more clients; who has not proven himself yet is sent away. Links that are there live on. Resolves when the port is free: over UDP that
   * is when the last link has ended, since they all share the socket.
   */
  close(): Promise<void>;
}
