import type { ErrorCode } from '../errors.ts';
import type { Percentiles } from './sample.ts';

/** A way to the far end. */
export type PathName = 'quic' | 'tcp' | 'direct';

/** How a bench's figures are kept, and what `-json` prints. Sizes are bytes, times milliseconds unless their name says seconds. */
export interface Results {
  readonly qtunnel: string;
  readonly date: string;
  readonly node: string;
  /** The far end as `host:port`; null when both ends were here. */
  readonly backend: string | null;
  readonly secondsEach: number;
  readonly paths: readonly PathFacts[];
  readonly throughput: readonly Throughput[];
  readonly sizes: readonly Throughput[];
  readonly latency: readonly Latency[];
  readonly reliability: readonly Reliability[];
  /** What could not be measured, and why. */
  readonly problems: readonly Problem[];
  /** False when it was stopped before everything was measured. */
  readonly complete: boolean;
}

export interface PathFacts {
  readonly path: PathName;
  /** The usual time of a small round trip before anything else was measured; null when none came back. */
  readonly rtt: number | null;
  /** How often the link was lost while it was measured. */
  readonly linksLost: number;
}

export interface Throughput {
  readonly path: PathName;
  /** From the near end to the far one, or back. */
  readonly direction: 'up' | 'down';
  readonly connections: number;
  /** Bytes that are handed to the socket at once. */
  readonly writeSize: number;
  /** Connections that did not come about or broke. */
  readonly failed: number;
  /** Bytes that arrived. */
  readonly bytes: number;
  readonly seconds: number;
  readonly bytesPerSecond: number;
}

export interface Latency {
  readonly path: PathName;
  readonly size: number;
  /** Of the time from writing a message to having all of it back; null when none came back. */
  readonly roundTrip: Percentiles | null;
}

export interface Reliability {
  readonly path: PathName;
  readonly transfers: number;
  /** Came back with the hash of what was sent. */
  readonly whole: number;
  /** Came back to their end, but with other bytes. */
  readonly wrong: number;
  /** Connections that did not come about, broke, ended early, or stood still for too long. */
  readonly failed: number;
  /** Not begun when the time for all of them was over. */
  readonly skipped: number;
  /** Bytes sent in whole transfers; as many came back. */
  readonly bytes: number;
  /** How often each reason made one fail. */
  readonly reasons: Readonly<Record<string, number>>;
}

export interface Problem {
  readonly path: PathName;
  readonly code: ErrorCode;
  readonly message: string;
}
