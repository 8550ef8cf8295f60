import type { MessagePort } from 'node:worker_threads';
import type { Address, ProcessSettings } from '../config/settings.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { Place } from '../protocol/place.ts';
import type { TunnelSnapshot } from '../observe/tunnel-metrics.ts';
import type { AuthKeys } from '../tunnel/security.ts';
import type { RunningSettings } from '../tunnel/tunnel.ts';
import type { FlatError } from './calls.ts';

/** What a worker is started with. */
export interface WorkerTask {
  readonly port: MessagePort;
  /** 0 … count - 1. */
  readonly index: number;
  readonly count: number;
  readonly logLevel: ProcessSettings['logLevel'];
  /** Bytes of memory that the process may have; Infinity for as many as there are. */
  readonly memoryCap: number;
}

/** Settings for a worker's part of a tunnel, with what the main thread has loaded and opened for them. */
export interface Preparation {
  /** Names the tunnel between the threads: its tag may have another tunnel before and after it. */
  readonly tunnel: number;
  readonly settings: RunningSettings;
  readonly keys: AuthKeys;
  /** Null for a client. */
  readonly identity: ServerIdentity | null;
  /** What was opened for these settings; what is open already is not here again. */
  readonly opened: OpenedEars;
  readonly tally: Int32Array<SharedArrayBuffer>;
}

/** Each with the number that it has between the threads. */
export interface OpenedEars {
  readonly udp: { readonly ear: number; readonly fd: number; readonly address: Address; readonly place: Place } | null;
  readonly tcp: { readonly ear: number; readonly address: Address } | null;
}

/** What the main thread asks a worker. */
export interface WorkerServices {
  prepare(input: Preparation): Promise<void>;
  takeEffect(tunnel: number): void;
  discard(tunnel: number): void;
  /** A connection that came in on a client's TCP port (`ear` null) or on a server's; the descriptor is the worker's from now on. */
  accept(input: { tunnel: number; ear: number | null; fd: number }): void;
  /** The worker's part of the tunnel is forgotten after these two. */
  drain(tunnel: number): Promise<boolean>;
  close(input: { tunnel: number; reason: FlatError }): Promise<void>;
  /** Says that the worker is alive. */
  answer(input: null): void;
  snapshot(input: null): ReadonlyMap<string, TunnelSnapshot>;
  /** The tag is no tunnel's any more. */
  forget(tag: string): void;
  setLogLevel(level: ProcessSettings['logLevel']): void;
  /** Ends the worker's task. */
  end(input: null): void;
  [name: string]: (input: never) => unknown;
}

/** What a worker tells the main thread. */
export interface MainServices {
  log(input: { level: number; line: string }): void;
  /** The worker's socket of this UDP group is closed. */
  udpClosed(ear: number): void;
  [name: string]: (input: never) => unknown;
}
