import type { Logger } from 'pino';

export interface RateLimit {
  /** Lines of one kind that may pass in an interval. */
  readonly burst: number;
  readonly intervalMs: number;
  /** Milliseconds on a clock that does not go back. */
  readonly now: () => number;
}

export interface RateLimitedLog {
  /** @param kind from a short list of the program's own: each kind is remembered for good. */
  info(kind: string, fields: object, message: string): void;
  warn(kind: string, fields: object, message: string): void;
  /** Says how many lines are held back; for the end. */
  flush(): void;
}

/**
 * A log for what a peer can cause as often as it likes: `burst` lines per kind and interval pass, and the first line after that
 * interval is preceded by how many did not.
 */
export function rateLimited(log: Logger, { burst, intervalMs, now }: RateLimit): RateLimitedLog {
  const kinds = new Map<string, Kind>();
  const tell = (name: string, kind: Kind) => {
    if (kind.suppressed > 0)
      log.warn({ kind: name, suppressed: kind.suppressed }, `${kind.suppressed} more lines like this were left out`);
    kind.suppressed = 0;
  };
  const line = (level: 'info' | 'warn', name: string, fields: object, message: string) => {
    const kind = kinds.get(name) ?? { since: now(), passed: 0, suppressed: 0 };
    kinds.set(name, kind);
    if (now() - kind.since >= intervalMs) {
      tell(name, kind);
      kind.since = now();
      kind.passed = 0;
    }
    if (kind.passed >= burst) {
      kind.suppressed++;
      return;
    }
    kind.passed++;
    log[level](fields, message);
  };
  return {
    info: (kind, fields, message) => line('info', kind, fields, message),
    warn: (kind, fields, message) => line('warn', kind, fields, message),
    flush: () => kinds.forEach((kind, name) => tell(name, kind)),
  };
}

interface Kind {
  since: number;
  passed: number;
  suppressed: number;
}
