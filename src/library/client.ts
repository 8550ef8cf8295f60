import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { checkOption } from '../config/options.ts';
import type { Address } from '../config/settings.ts';
import { type ClientTunnel, startClientTunnel } from '../tunnel/client.ts';
import type { RunningSettings } from '../tunnel/tunnel.ts';
import { libraryContext } from './context.ts';
import { type ClientEvents, emitLater, emitting, type LinkInfo, linkInfo } from './events.ts';
import { Lifetime, startUnlessAborted } from './lifetime.ts';
import { LinkWatch, waitForLink } from './link-watch.ts';
import { openDuplex } from './open-duplex.ts';
import { type ClientOptions, clientSettings, type ConnectionOptions, type ProgramOptions, type WaitOptions } from './options.ts';

/**
 * Starts a client: it keeps a link to the server up and carries over it what comes in on its local port, when `listen` gives it one, and
 * what `connect()` opens. Resolves when it listens; the link may come up later, see `ready()`.
 * @throws QtunnelError `CONFIG_INVALID`, `LISTEN_FAILED`, `ABORTED`, and for what it reads: `FILE_UNREADABLE`, `SECRET_INVALID`,
 *   `CERT_INVALID`.
 */
export async function startClient(options: ClientOptions): Promise<TunnelClient> {
  let handle: ClientHandle | null = null;
  const settings = clientSettings(options);
  const watch = new LinkWatch(emitting(() => handle));
  const context = libraryContext(settings.tag, options, watch);
  const tunnel = await startUnlessAborted(options.signal, () => startClientTunnel(settings, context));
  handle = new ClientHandle(tunnel, watch, options);
  return handle;
}

/** A running client. */
export interface TunnelClient extends EventEmitter<ClientEvents>, AsyncDisposable {
  /** Where it listens, with the real port when 0 was asked for; null without a local port. */
  readonly address: Address | null;
  /** Connections that are open, those of `connect()` included. */
  readonly connections: number;
  /** The links that are there, the one for new connections first. */
  readonly links: readonly LinkInfo[];
  /**
   * Resolves when a link is up.
   * @throws QtunnelError `AUTH_…`, `CERT_…`, `PIN_MISMATCH`, `VERSION_MISMATCH` or `SERVER_BUSY` when the server or this side refuses, since
   *   waiting does not help then; `SHUTTING_DOWN` when the client is closed first, `ABORTED` when the signal fires first. A server that
   *   does not answer is waited for.
   */
  ready(options?: WaitOptions): Promise<LinkInfo>;
  /**
   * Opens a connection through the tunnel to the server's backend, `target` or the client's own. Without a link it waits up to `dialTimeout` for one. The signal cuts
   * the connection off even when it is open. What becomes of the connection later, a refused backend included, is its `error`.
   * @throws QtunnelError as `ready()`; why the last attempt at a link failed (`LINK_REFUSED`, `LINK_TIMEOUT`, `NAME_NOT_FOUND`, …) when
   *   `dialTimeout` has passed; `STREAM_LIMIT`; `CONFIG_INVALID` for a target that is no name.
   */
  connect(options?: ConnectionOptions): Promise<Duplex>;
  /**
   * Takes over options and reads the files they name again; connections that are open stay. What is not given stays as it is.
   * @throws QtunnelError as `startClient`; nothing has changed then.
   */
  reload(changes?: Omit<ClientOptions, keyof ProgramOptions>): Promise<void>;
  /** Takes nothing new and waits up to `drainTimeout` for the open connections; true when they ended by themselves. */
  drain(): Promise<boolean>;
  /** Ends everything at once; open connections are reset. */
  close(): Promise<void>;
}

class ClientHandle extends EventEmitter<ClientEvents> implements TunnelClient {
  readonly #tunnel: ClientTunnel;
  readonly #watch: LinkWatch;
  readonly #life: Lifetime<RunningSettings>;
  #options: ClientOptions;

  constructor(tunnel: ClientTunnel, watch: LinkWatch, options: ClientOptions) {
    super();
    this.#tunnel = tunnel;
    this.#watch = watch;
    this.#options = options;
    this.#life = new Lifetime(tunnel, options.signal, () => emitLater(this, 'close'));
  }

  get address(): Address | null {
    return this.#tunnel.address;
  }

  get connections(): number {
    return this.#tunnel.connections;
  }

  get links(): LinkInfo[] {
    return this.#tunnel.uplink.links.map(linkInfo);
  }

  async ready({ signal }: WaitOptions = {}): Promise<LinkInfo> {
    const signals = [signal, this.#life.stopping];
    return linkInfo(await waitForLink(this.#tunnel, { watch: this.#watch, timeout: Infinity, signals }));
  }

  async connect({ signal, target }: ConnectionOptions = {}): Promise<Duplex> {
    if (target !== undefined) checkOption('target', target);
    return await openDuplex(this.#tunnel, { watch: this.#watch, signal, stopping: this.#life.stopping, target });
  }

  async reload(changes: Omit<ClientOptions, keyof ProgramOptions> = {}): Promise<void> {
    let options = this.#options;
    await this.#life.reload(() => {
      options = { ...this.#options, ...changes };
      return clientSettings(options);
    });
    this.#options = options;
    this.#watch.forget();
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
