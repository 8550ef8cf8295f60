import { EventEmitter } from 'node:events';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { type ServerTunnel, startServerTunnel } from '../tunnel/server.ts';
import { libraryContext } from './context.ts';
import { emitLater, emitting, type LinkInfo, linkInfo, type ServerEvents } from './events.ts';
import { Lifetime, startUnlessAborted } from './lifetime.ts';
import { type ProgramOptions, type ServerOptions, serverSettings } from './options.ts';

/**
 * Starts a server: it takes links from clients and ends their connections on the TCP backend. Resolves when it listens.
 * @throws QtunnelError `CONFIG_INVALID`, `LISTEN_FAILED`, `ABORTED`, and for what it reads: `FILE_UNREADABLE`, `FILE_UNWRITABLE`,
 *   `SECRET_INVALID`, `CERT_INVALID`, `CERT_KEY_MISMATCH`, `CERT_EXPIRED`.
 */
export async function startServer(options: ServerOptions = {}): Promise<TunnelServer> {
  let handle: ServerHandle | null = null;
  const settings = serverSettings(options);
  const context = libraryContext(
    settings.tag,
    options,
    emitting(() => handle),
  );
  const tunnel = await startUnlessAborted(options.signal, () => startServerTunnel(settings, context));
  handle = new ServerHandle(tunnel, options);
  return handle;
}

/** A running server. */
export interface TunnelServer extends EventEmitter<ServerEvents>, AsyncDisposable {
  /** Where it listens, with the real port when 0 was asked for. */
  readonly address: Address;
  /** SHA-256 of its certificate: 64 hexadecimal digits, a client's `pin`. */
  readonly fingerprint: string;
  /** Connections that are open. */
  readonly connections: number;
  /** The links that clients have made. */
  readonly links: readonly LinkInfo[];
  /**
   * Takes over options, and reads certificate and secret files again; connections that are open stay. What is not given stays as it is.
   * @throws QtunnelError as `startServer`; nothing has changed then.
   */
  reload(changes?: Omit<ServerOptions, keyof ProgramOptions>): Promise<void>;
  /** Takes nothing new and waits up to `drainTimeout` for the open connections; true when they ended by themselves. */
  drain(): Promise<boolean>;
  /** Ends everything at once; open connections are reset. */
  close(): Promise<void>;
}

class ServerHandle extends EventEmitter<ServerEvents> implements TunnelServer {
  readonly #tunnel: ServerTunnel;
  readonly #life: Lifetime<TunnelSettings>;
  #options: ServerOptions;

  constructor(tunnel: ServerTunnel, options: ServerOptions) {
    super();
    this.#tunnel = tunnel;
    this.#options = options;
    this.#life = new Lifetime(tunnel, options.signal, () => emitLater(this, 'close'));
  }

  get address(): Address {
    return this.#tunnel.address;
  }

  get fingerprint(): string {
    return this.#tunnel.fingerprint;
  }

  get connections(): number {
    return this.#tunnel.connections;
  }

  get links(): LinkInfo[] {
    return this.#tunnel.links.map(linkInfo);
  }

  async reload(changes: Omit<ServerOptions, keyof ProgramOptions> = {}): Promise<void> {
    let options = this.#options;
    await this.#life.reload(() => {
      options = { ...this.#options, ...changes };
      return serverSettings(options);
    });
    this.#options = options;
  }

  drain(): Promise<boolean> {
    return this.#life.drain();
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
