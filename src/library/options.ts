import type { Logger } from 'pino';
import type { CamelCase, TunnelFlag } from '../config/flags.ts';
import { settingsFromOptions, type TunnelOptions } from '../config/options.ts';
import type { TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import type { RunningSettings } from '../tunnel/tunnel.ts';

/** The flags of a server in camel case, and what a program gives besides. */
export type ServerOptions = Omit<TunnelOptions, 'clientmode' | OnlyFor<'client'>> & ProgramOptions;

/** The flags of a client in camel case, and what a program gives besides. */
export type ClientOptions = Omit<TunnelOptions, 'clientmode' | 'listen' | OnlyFor<'server'>> &
  ProgramOptions & {
    /** Where to accept TCP connections; null or left out: nowhere, the tunnel is used through `connect()` alone. */
    readonly listen?: TunnelOptions['listen'] | null;
  };

/** For a single connection: a client's options without a local port. */
export type ConnectOptions = Omit<ClientOptions, 'listen' | 'drainTimeout' | 'maxConnections'>;

export interface ProgramOptions {
  /** Ends everything at once when it fires, whether it has started or not. */
  readonly signal?: AbortSignal | undefined;
  /** Where to log; nowhere when left out. */
  readonly log?: Logger | undefined;
}

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined;
}

/** For one of a client's connections. */
export interface ConnectionOptions extends WaitOptions {
  /** The name of the server's backend; the client's `target` when left out. */
  readonly target?: string | undefined;
}

/** @throws QtunnelError `CONFIG_INVALID` */
export function serverSettings(options: ServerOptions): TunnelSettings {
  return settingsFromOptions({ ...withoutProgramOptions(options), clientmode: false });
}

/** @throws QtunnelError `CONFIG_INVALID` */
export function clientSettings(options: ClientOptions): RunningSettings {
  const { listen, ...others } = withoutProgramOptions(options);
  if (listen === undefined || listen === null) return { ...settingsFromOptions({ ...others, clientmode: true }), listen: null };
  return settingsFromOptions({ ...others, listen, clientmode: true });
}

function withoutProgramOptions<Options extends ProgramOptions>(options: Options): Omit<Options, keyof ProgramOptions> {
  if ('clientmode' in options) {
    throw new QtunnelError(
      'CONFIG_INVALID',
      'clientmode is not an option: startServer makes a server, startClient and connect a client',
    );
  }
  const { signal: _signal, log: _log, ...others } = options;
  return others;
}

type OnlyFor<Role> = CamelCase<Extract<TunnelFlag, { only: Role }>['name']>;
