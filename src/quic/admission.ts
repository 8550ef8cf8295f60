import { QtunnelError } from '../errors.ts';
import type { LinkAuth } from '../link/options.ts';
import { equalBytes } from '../protocol/bytes.ts';
import { packetForm } from '../protocol/connection-id.ts';
import { InitialKeys } from '../protocol/initial-keys.ts';
import { CLOCK_WINDOW, InitialGate } from '../protocol/initial-proof.ts';
import { type LongHeader, readLongHeaders } from '../protocol/long-header.ts';
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
  /** Somebody was turned away who may be told of in the log; not called for each of a flood. */
  onTurnedAway: (error: QtunnelError, from: UdpAddress) => void = () => {};
  readonly #date: () => number;
  readonly #gate = new InitialGate();
  readonly #strangers = new Map<QuicConnection, Stranger>();
  readonly #told: Budget;
  /** Null without a secret. */
  #keys: InitialKeys | null = null;

  /** `date` gives seconds since 1970. */
  constructor(clock: Clock, date: () => number, auth: LinkAuth) {
    this.#date = date;
    this.#told = new Budget(clock, TOLD_PER_SECOND);
    this.setAuth(auth);
  }

  setAuth({ hmac, key, allKeys = { own: key === null ? [] : [key], named: [] }, keysOf }: LinkAuth): void {
    const open = key === null && keysOf === undefined;
    this.#keys = open ? null : new InitialKeys(hmac, allKeys.own, allKeys.named);
  }

  /** Connections that have not proven themselves. */
  get strangers(): Iterable<QuicConnection> {
    return this.#strangers.keys();
  }

  /** A datagram that belongs to no connection: its headers if it may begin one, else null. */
  judge(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): Candidate | null {
    if (length < MIN_INITIAL || this.#strangers.size >= MAX_STRANGERS) return null;
    const header = readLongHeaders(bytes, offset, length);
    if (header === null || header.token === null || header.destination.length < MIN_ORIGINAL_ID) return null;
    if (this.#keys === null) return { header, time: null };
    const now = this.#date();
    const verdict = this.#gate.judge(header.source, this.#keys.candidates(header.source, now), now);
    if (verdict.kind === 'fresh') return { header, time: verdict.time };
    if (verdict.kind === 'stranger')
      this.#tell(
        from,
        'An Initial that does not show the secret got no answer: it came from a scanner, or the client’s -secret differs.',
      );
    if (verdict.kind === 'stale') this.#tell(from, `A client has the secret but was not answered: ${clockProblem(verdict.ahead)}.`);
    return null;
  }

  /** The candidate's connection was made: its proof is worth nothing to another. */
  begin(connection: QuicConnection, { header, time }: Candidate): void {
    if (time !== null) this.#gate.admit(header.source, time);
    this.#strangers.set(connection, { source: Uint8Array.from(header.source), received: 0 });
  }

  /** Whether a datagram for this connection may reach quiche. quiche 0.18 keeps what a handshake sends without bound (CVE-2024-1765). */
  passes(connection: QuicConnection, bytes: Uint8Array, offset: number, length: number): boolean {
    const stranger = this.#strangers.get(connection);
    if (stranger === undefined) return true;
    if (stranger.received + length > MAX_STRANGER_BYTES) return false;
    if (packetForm(bytes[offset]!) === 'long') {
      const source = readLongHeaders(bytes, offset, length)?.source;
      if (source === undefined || !equalBytes(source, stranger.source)) return false;
    }
    stranger.received += length;
    return true;
  }

  /** The connection has proven itself or is gone. */
  end(connection: QuicConnection): void {
    this.#strangers.delete(connection);
  }

  #tell(from: UdpAddress, message: string): void {
    if (this.#told.take()) this.onTurnedAway(new QtunnelError('AUTH_REJECTED', message), from);
  }
}

/** A datagram's headers, and the time in its proof; null without a secret. */
export interface Candidate {
  readonly header: LongHeader;
  readonly time: number | null;
}

interface Stranger {
  /** The client's own id, which all its packets with a long header have. */
  readonly source: Uint8Array;
  /** Bytes so far. */
  received: number;
}

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
/** Connections at once that have not proven themselves; each may hold `MAX_STRANGER_BYTES`. */
const MAX_STRANGERS = 256;
/** A handshake takes about 3 KB from the client, twice that with losses. */
const MAX_STRANGER_BYTES = 32 * 1024;
/** The log has its own limit, but an error costs as much as many datagrams. */
const TOLD_PER_SECOND = 10;
