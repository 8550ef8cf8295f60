import type { Owner, ProcessOptions, Program } from '../test/support/process.ts';
import type { Site, TcpCongestion } from './site.ts';

/** A way from a port on one host to a backend on another: qtunnel in its modes, other tunnels, or nothing at all. */
export interface Contender<T extends Target = Target> {
  readonly name: string;
  /** The programs that it needs, each with Debian's package. */
  readonly needs: Readonly<Record<string, string>>;
  /** For plain TCP: the congestion control that its load is to choose. Everything else has what its host is set to. */
  readonly tcpCongestion?: TcpCongestion;
  /** Other words for why it cannot run here; null when it can. */
  absence?(): string | null;
  /** Starts both ends and resolves, when they are ready, with where applications on the client's host connect to. */
  start(stage: Stage): Promise<T>;
}

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What a contender is started with. */
export interface Stage {
  readonly site: Site;
  /** The backend is on 127.0.0.1 of the server's host. */
  readonly backendPort: number;
  /** A folder of its own for configuration and state. */
  readonly folder: string;
  /** Ends with the contender: for what is no program. */
  readonly owner: Owner;
  /** Starts a program on one of the hosts; its CPU time and memory count as that end's, and it is stopped in the end. */
  run(end: End, command: string, args: readonly string[], options?: ProcessOptions): Program;
  /** The same for a program that is of a class of its own. */
  add<P extends Program>(end: End, start: (options: ProcessOptions) => P): P;
}

export type End = 'client' | 'server';
