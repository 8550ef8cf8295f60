import { randomBytes } from 'node:crypto';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { isOpen, type LinkOptions, type Refusal, type StrangerLimits } from '../link/options.ts';
import { equalBytes } from '../protocol/bytes.ts';
import { packetForm } from '../protocol/connection-id.ts';
import type { IdCheck } from '../protocol/id-check.ts';
import { InitialKeys } from '../protocol/initial-keys.ts';
import { CLOCK_WINDOW, InitialGate } from '../protocol/initial-proof.ts';
import { type LongHeader, readLongHeaders } from '../protocol/long-header.ts';
import { RetryTokens } from '../protocol/retry-token.ts';
import { sourceOf, Sources } from '../protocol/sources.ts';
import type { UdpAddress } from '../udp/socket.ts';
import type { Clock } from './clock.ts';
import type { QuicConnection } from './connection.ts';

/**
 * Decides what of strangers reaches quiche:
 *
 *     Initial of no connection ── judge ──▶ connection made ── begin ──▶ passes? for each of its datagrams ──▶ end, when it has proven itself or is gone
 *
 * With a secret only a client that proves in its first packet that it knows the secret gets so far; to all others the port is silent.
 */
export class Admission {
  /** The sender is to show first that he is where he says, with a token of `retryToken`. */
  onRetry: (header: LongHeader, from: UdpAddress) => void = () => {};
  onRefusal: (refusal: Refusal) => void = () => {};
  /** Somebody was turned away who may be told of in the log; not called for each of a flood. */
  onTurnedAway: (error: QtunnelError, from: UdpAddress) => void = () => {};
  readonly #date: () => number;
  readonly #gate = new InitialGate();
  readonly #strangers = new Map<QuicConnection, Stranger>();
  readonly #sources: Sources;
  readonly #clock: Clock;
  readonly #told: Budget;
  readonly #tokens: RetryTokens;
  /** Null without a secret. */
  #keys: InitialKeys | null = null;
  #limits: StrangerLimits;

  /** `date` gives seconds since 1970. */
  constructor(clock: Clock, date: () => number, options: AdmissionOptions) {
    this.#clock = clock;
    this.#date = date;
    this.#told = new Budget(clock, TOLD_PER_SECOND);
    this.#tokens = new RetryTokens(options.auth.hmac, randomBytes(32));
    this.#limits = options.strangers;
    this.#sources = new Sources(options.sources);
    this.setOptions(options);
  }

  setOptions({ auth, strangers }: AdmissionOptions): void {
    const { hmac, key } = auth;
    const { own, named } = auth.allKeys ?? { own: key === null ? [] : [key], named: [] };
    this.#limits = strangers;
    this.#keys = isOpen(auth) ? null : new InitialKeys(hmac, own, named);
  }

  /** What the ids of all clients have that may come; null where any id will do. */
  get checks(): readonly IdCheck[] | null {
    return this.#keys?.checks ?? null;
  }

  /** Handshakes that are open. */
  get open(): number {
    return this.#sources.open;
  }

  /** Connections that have not proven themselves. */
  get strangers(): Iterable<QuicConnection> {
    return this.#strangers.keys();
  }

  /** A datagram that belongs to no connection: its headers if it may begin one, else null. */
  judge(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): Candidate | null {
    if (length < MIN_INITIAL) return null;
    const header = readLongHeaders(bytes, offset, length);
    if (header === null || header.token === null || header.destination.length < MIN_ORIGINAL_ID) return null;
    const proof = this.#judgeProof(header.source, from);
    if (proof === null) return null;
    const refusal = this.#sources.judge(sourceOf(from.host), this.#limits, this.#clock.now());
    if (refusal !== null) return this.#none(refusal);
    const { token, destination } = header;
    const original = this.#tokens.read(token, formatAddress(from), destination, this.#clock.now());
    if (original !== null) return { header, time: proof.time, original };
    if (token.length === 0 && this.#sources.open < this.#limits.retryAbove) return { header, time: proof.time, original };
    // Who has a token that is none has had his Retry, and takes no other (RFC 9000 §17.2.5.2).
    if (token.length === 0) this.onRetry(header, from);
    return this.#none('retry');
  }

  /** For the sender of these headers, who is to use `newId` for this server. */
  retryToken(header: LongHeader, newId: Uint8Array, from: UdpAddress): Uint8Array {
    return this.#tokens.make(formatAddress(from), header.destination, newId, this.#clock.now());
  }

  /** The candidate's connection was made: its proof is worth nothing to another. */
  begin(connection: QuicConnection, { header, time }: Candidate): void {
    const source = sourceOf(connection.peer.host);
    if (time !== null) this.#gate.admit(header.source, time);
    this.#sources.begin(source);
    this.#strangers.set(connection, { source, id: Uint8Array.from(header.source), bytes: 0, datagrams: 0 });
  }

  /** Whether a datagram for this connection may reach quiche. quiche 0.18 keeps what a handshake sends without bound (CVE-2024-1765). */
  passes(connection: QuicConnection, bytes: Uint8Array, offset: number, length: number): boolean {
    const stranger = this.#strangers.get(connection);
    if (stranger === undefined) return true;
    if (packetForm(bytes[offset]!) === 'long') {
      const id = readLongHeaders(bytes, offset, length)?.source;
      if (id === undefined || !equalBytes(id, stranger.id)) return false;
    }
    if (stranger.bytes + length > this.#limits.bytes) return this.#refuse('bytes');
    if (stranger.datagrams === this.#limits.datagrams) return this.#refuse('datagrams');
    stranger.bytes += length;
    stranger.datagrams++;
    return true;
  }

  /** The connection has proven itself, or has failed and is gone. */
  end(connection: QuicConnection, hasProven: boolean): void {
    const stranger = this.#strangers.get(connection);
    if (stranger === undefined) return;
    this.#strangers.delete(connection);
    // Who has completed the handshake has heard the answers.
    const failed = connection.established ? 'failed' : 'unknown';
    this.#sources.settle(stranger.source, hasProven ? 'succeeded' : failed, this.#limits, this.#clock.now());
  }

  /** The time that the client's id proves, null in it without a secret; null for an id that opens nothing. */
  #judgeProof(id: Uint8Array, from: UdpAddress): { readonly time: number | null } | null {
    if (this.#keys === null) return { time: null };
    const now = this.#date();
    const verdict = this.#gate.judge(id, this.#keys.candidates(id, now), now);
    if (verdict.kind === 'fresh') return verdict;
    if (verdict.kind === 'stranger') this.#tell(from, NO_PROOF);
    if (verdict.kind === 'stale') this.#tell(from, `A client has the secret but was not answered: ${clockProblem(verdict.ahead)}.`);
    return this.#none(REFUSALS[verdict.kind]);
  }

  #none(refusal: Refusal): null {
    this.onRefusal(refusal);
    return null;
  }

  #refuse(refusal: Refusal): false {
    this.onRefusal(refusal);
    return false;
  }

  #tell(from: UdpAddress, message: string): void {
    if (this.#told.take()) this.onTurnedAway(new QtunnelError('AUTH_REJECTED', message), from);
  }
}

/** A datagram's headers, and the time in its proof; null without a secret. */
export interface Candidate {
  readonly header: LongHeader;
  readonly time: number | null;
  /** The destination id of its first Initial, when this one is the answer to Retry; else null. */
  readonly original: Uint8Array | null;
}

interface Stranger {
  readonly source: string;
  /** The client's own id, which all its packets with a long header have. */
  readonly id: Uint8Array;
  /** So far. */
  bytes: number;
  datagrams: number;
}

type AdmissionOptions = Pick<LinkOptions, 'auth' | 'strangers' | 'sources'>;

/** So many a second. */
export class Budget {
  readonly #clock: Clock;
  readonly #perSecond: number;
  #left = 0;
  #since = -Infinity;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
  }

  take(): boolean {
    const now = this.#clock.now();
    if (now - this.#since >= 1000) {
      this.#since = now;
      this.#left = this.#perSecond;
    }
    return this.#left-- > 0;
  }
}

function clockProblem(ahead: number): string {
  const apart = `${Math.abs(ahead)} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine’s`;
  return `its clock is ${apart}, and more than ${CLOCK_WINDOW / 60} minutes are not accepted; or somebody sends an old packet again`;
}

/** RFC 9000 §14.1 and §7.2. */
const MIN_INITIAL = 1200;
const MIN_ORIGINAL_ID = 8;
/** The log has its own limit, but an error costs as much as many datagrams. */
const TOLD_PER_SECOND = 10;
const NO_PROOF = 'An Initial that does not show the secret got no answer: it came from a scanner, or the client’s -secret differs.';
const REFUSALS = { stranger: 'secret', replay: 'replay', stale: 'clock', full: 'memory' } as const;
