/** What one source may do before it has proven itself. */
export interface SourceLimits {
  /** Handshakes at once, of all sources together and of each. */
  readonly maxHandshakes: number;
  readonly maxHandshakesPerSource: number;
  /** Handshakes that may fail before the source has to wait. */
  readonly attemptsPerSource: number;
}

/** Why a handshake may not begin: too many are open, of all or of this source, or it has failed too often of late. */
export type SourceRefusal = 'total' | 'source' | 'penalty';

/**
 * Who has handshakes open on one transport. Places are counted for each transport by itself: over UDP anybody can take them in another's name, who is then still
 * heard over TCP. Failures are not (`SourceRecords`), since they count only when it is sure who it was.
 */
export class Sources {
  readonly #records: SourceRecords;
  readonly #bySource = new Map<string, number>();
  #open = 0;

  constructor(records = new SourceRecords()) {
    this.#records = records;
  }

  /** Handshakes that are open. */
  get open(): number {
    return this.#open;
  }

  /** Whether the source may begin a handshake now, and if not, why. `now` is in milliseconds. */
  judge(source: string, limits: SourceLimits, now: number): SourceRefusal | null {
    const record = this.#records.find(source);
    if (record !== undefined && now < record.blockedUntil) return 'penalty';
    const isTrusted = record !== undefined && now < record.trustedUntil;
    if (!isTrusted && (this.#bySource.get(source) ?? 0) >= limits.maxHandshakesPerSource) return 'source';
    return this.#open >= limits.maxHandshakes ? 'total' : null;
  }

  /** A handshake begins; `settle` is to be called for it once. */
  begin(source: string): void {
    this.#bySource.set(source, (this.#bySource.get(source) ?? 0) + 1);
    this.#open++;
  }

  /**
   * A handshake is over. A failure counts against the source only if it is sure who it was: anybody can send datagrams in another's name, but
   * not hear the answers.
   */
  settle(source: string, outcome: 'succeeded' | 'failed' | 'unknown', { attemptsPerSource }: SourceLimits, now: number): void {
    const left = this.#bySource.get(source)! - 1;
    if (left > 0) this.#bySource.set(source, left);
    else this.#bySource.delete(source);
    this.#open--;
    if (outcome === 'succeeded') this.#records.trust(source, now);
    if (outcome === 'failed') this.#records.punish(source, attemptsPerSource, now);
  }
}

/**
 * Who has failed in how many handshakes, whatever carried them. A source that fails more often than it may waits 1 s, after each further failure twice as long, at most
 * `LONGEST_PENALTY`. What it has failed in is forgotten when it succeeds, or after `MEMORY` without a failure; and one that has succeeded is neither
 * punished nor held to the limit for one source for as long, because strangers may share an address with clients.
 */
export class SourceRecords {
  readonly #records = new Map<string, SourceRecord>();

  /** Sources that are remembered. */
  get size(): number {
    return this.#records.size;
  }

  find(source: string): Pick<SourceRecord, 'blockedUntil' | 'trustedUntil'> | undefined {
    return this.#records.get(source);
  }

  /** It has shown that it is a client. */
  trust(source: string, now: number): void {
    Object.assign(this.#record(source), { trustedUntil: now + MEMORY, failures: 0, blockedUntil: -Infinity });
    this.#forget(now);
  }

  punish(source: string, attempts: number, now: number): void {
    const record = this.#record(source);
    if (now >= record.trustedUntil) addFailure(record, attempts, now);
    this.#forget(now);
  }

  /** Keeps who was heard of last at the end. */
  #record(source: string): SourceRecord {
    const known = this.#records.get(source) ?? {
      failures: 0,
      failedAt: -Infinity,
      blockedUntil: -Infinity,
      trustedUntil: -Infinity,
    };
    this.#records.delete(source);
    this.#records.set(source, known);
    return known;
  }

  /** Nothing is kept of a source that there is nothing to say of; of the others those go first that were not heard of for longest. */
  #forget(now: number): void {
    let looked = 0;
    for (const [name, record] of this.#records) {
      if (this.#records.size > MOST_SOURCES || isForgettable(record, now)) this.#records.delete(name);
      else if (++looked === LOOKS) return;
    }
  }
}

interface SourceRecord {
  failures: number;
  failedAt: number;
  blockedUntil: number;
  trustedUntil: number;
}

/** Whom handshakes from this address are counted for: an IPv4 address, or the /64 that one subscriber has of IPv6. */
export function sourceOf(host: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  if (!host.includes(':')) return host;
  const [front = '', back] = host.replace(/%.*$/, '').split('::');
  const groups = front === '' ? [] : front.split(':');
  const behind = back === undefined || back === '' ? [] : back.split(':');
  // What "::" stands for; an IPv4 address at the end takes the place of two groups.
  const missing = back === undefined ? 0 : 8 - groups.length - behind.length - (host.includes('.') ? 1 : 0);
  const all = [...groups, ...Array<string>(Math.max(0, missing)).fill('0'), ...behind];
  const prefix = all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${prefix.join(':')}::/64`;
}

function isForgettable({ failedAt, trustedUntil }: SourceRecord, now: number): boolean {
  return now - failedAt > MEMORY && now >= trustedUntil;
}

function addFailure(source: SourceRecord, attempts: number, now: number): void {
  source.failures = now - source.failedAt > MEMORY ? 1 : source.failures + 1;
  source.failedAt = now;
  const beyond = source.failures - attempts;
  if (beyond > 0) source.blockedUntil = now + Math.min(LONGEST_PENALTY, FIRST_PENALTY * 2 ** Math.min(beyond - 1, 20));
}

/** Milliseconds. A client whose secret is wrong comes every 30 to 60 s in the end, so that it does not notice. */
const FIRST_PENALTY = 1_000;
const LONGEST_PENALTY = 30_000;
/** Milliseconds for which failures, and a success, are remembered. */
const MEMORY = 600_000;
/** About 1 MB. When there are more, who has not been heard of for longest is forgotten. */
export const MOST_SOURCES = 4_096;
/** How many of the oldest that may go are looked at each time: more than come in between. */
const LOOKS = 4;
