/** A way from a local port to a backend: qtunnel in its modes, other tunnels, or nothing at all. */
export interface Contender {
  readonly name: string;
  /** Null when it can run here, otherwise why not. */
  available(): string | null;
  /** Starts both ends on this machine, in front of a backend on 127.0.0.1, and resolves when a connection gets through. */
  start(backendPort: number): Promise<RunningContender>;
}

export interface RunningContender {
  /** Where applications connect to, on 127.0.0.1. */
  readonly port: number;
  /** The processes that do its work, whose CPU time counts. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}
