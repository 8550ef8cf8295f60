import type { BlockList } from 'node:net';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Address } from '../config/settings.ts';
import { loadServerIdentity, type ServerIdentityOptions } from '../identity/server-identity.ts';
import { formatAddress } from '../link/address.ts';
import type { SettingsChange } from '../tunnel/tunnel.ts';
import type { Api } from './api/server.ts';
import type { Tokens } from './api/tokens.ts';
import { LiveFeed } from './live/live-feed.ts';
import { MappingKeeper } from './mapping-keeper.ts';
import type { Publisher } from './publisher.ts';
import type { Store } from './store/store.ts';
import { TrafficLedger } from './traffic-ledger.ts';

/** What a hub is told of its database and API. */
export interface ManagementSettings {
  /** Where to serve the API; null for nowhere. */
  readonly api: Address | null;
  /** Whether over HTTPS, with the hub's certificate. */
  readonly tls: boolean;
  /** A file with a token that may manage; null for none. */
  readonly tokenFile: string | null;
  /** Networks of the clients that may ask; null for all. */
  readonly networks: BlockList | null;
  /** Requests a minute of one address. */
  readonly rate: number;
  /** An SQLite file or a URL of PostgreSQL; null for `hub.db` in the state folder, where there is an API, and otherwise for none. */
  readonly database: string | null;
}

export interface ManagementParts {
  readonly settings: ManagementSettings;
  readonly identity: ServerIdentityOptions;
  readonly publisher: Publisher;
  /** Whether the hub takes agents. */
  readonly tunnelEnabled: boolean;
  readonly log: Logger;
}

/** A hub's mappings that outlive it, and the API that changes them. */
export class Management {
  readonly #parts: ManagementParts;
  readonly #store: Store;
  readonly #keeper: MappingKeeper;
  readonly #ledger: TrafficLedger;
  readonly #live: LiveFeed;
  #tokens: Tokens | null = null;
  #api: Api | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  /**
   * Opens the database and the ports of its mappings. Null for a hub that has neither a database nor an API.
   * @throws QtunnelError `DATABASE_FAILED`
   */
  static async start(parts: ManagementParts): Promise<Management | null> {
    const { api, database } = parts.settings;
    if (api === null && database === null) return null;
    const { openStore } = await import('./store/open.ts');
    const store = await openStore(database ?? path.join(parts.identity.stateDir, 'hub.db'));
    const management = new Management(parts, store);
    try {
      await management.#ledger.start();
      await management.#keeper.start();
    } catch (error) {
      await management.close();
      throw error;
    }
    return management;
  }

  private constructor(parts: ManagementParts, store: Store) {
    const { publisher, log } = parts;
    this.#parts = parts;
    this.#store = store;
    this.#ledger = new TrafficLedger({ store, publisher, log });
    this.#keeper = new MappingKeeper({ store, publisher, log, forget: (mapping) => this.#ledger.forget(mapping) });
    this.#live = new LiveFeed(publisher);
  }

  /** Serves the API, if there is to be one. @throws QtunnelError `LISTEN_FAILED`, `CONFIG_INVALID`, `FILE_UNREADABLE`, those of certificates */
  async serve(): Promise<void> {
    const { settings, log, publisher, tunnelEnabled } = this.#parts;
    const { api: listen, networks, rate } = settings;
    const tokens = (this.#tokens = await this.#loadTokens());
    this.#store.onChange((what) => {
      if (what === 'mappings') this.#keeper.refresh();
      else this.#refresh(tokens);
    });
    if (listen === null) return;
    const { startApi } = await import('./api/server.ts');
    const { isLoopback } = await import('./api/guard.ts');
    const parts = {
      store: this.#store,
      keeper: this.#keeper,
      ledger: this.#ledger,
      live: this.#live,
      publisher,
      tokens,
      tunnelEnabled,
      startedAt: new Date(),
    };
    const tls = settings.tls ? await loadServerIdentity(this.#parts.identity) : null;
    this.#live.start();
    this.#api = await startApi({ listen, tls, networks, rate }, parts, log);
    const address = formatAddress({ ...this.#api.address, host: listen.host === '' ? '127.0.0.1' : listen.host });
    const url = `${tls === null ? 'http' : 'https'}://${address}`;
    if (tls === null && !isLoopback(listen.host))
      log.warn(
        { event: 'warning' },
        '-api can be reached from other machines, and tokens travel in the clear: give -api-tls, or have a proxy do it',
      );
    log.info({ event: 'api', address, url, tokens: tokens.needed }, `API on ${url}${tokens.needed ? '' : ', without a token'}`);
  }

  /**
   * New settings, and what the files hold that they name. Where it listens, with or without TLS, and the database stay as they are.
   * @throws QtunnelError `CONFIG_INVALID`, `FILE_UNREADABLE`, those of certificates; nothing has changed then.
   */
  async prepare({ tokenFile, networks, rate }: ManagementSettings, identity: ServerIdentityOptions): Promise<SettingsChange> {
    const { api: listen, tls: overTls } = this.#parts.settings;
    const fileToken = tokenFile === null ? null : await this.#readToken(tokenFile);
    if (listen !== null) await refuseOpen(listen, fileToken !== null || this.#tokens?.list().length !== 0);
    const tls = overTls ? await loadServerIdentity(identity) : null;
    const takeEffect = (): void => {
      this.#tokens?.useFile(fileToken);
      this.#api?.use({ tls, networks, rate });
    };
    return { takeEffect, discard() {} };
  }

  /** Answers no requests any more. */
  async stop(): Promise<void> {
    this.#live.close();
    await this.#api?.close();
    this.#api = null;
  }

  /** Writes down the last counters, after the connections have ended, and closes the database. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.stop();
    await this.#keeper.close();
    await this.#ledger.close();
    await this.#store.close();
  }

  /** Tries again until it is done: a token that another hub has removed must not live on here. */
  #refresh(tokens: Tokens): void {
    tokens.refresh().catch((err: unknown) => {
      if (this.#closed) return;
      this.#parts.log.error({ event: 'tokens_not_read', err }, 'the tokens could not be read again; they are tried again');
      this.#retry ??= setTimeout(() => {
        this.#retry = null;
        this.#refresh(tokens);
      }, RETRY_MS).unref();
    });
  }

  async #loadTokens(): Promise<Tokens> {
    const { api, tokenFile } = this.#parts.settings;
    const { Tokens } = await import('./api/tokens.ts');
    const { isLoopback } = await import('./api/guard.ts');
    const fileToken = tokenFile === null ? null : await this.#readToken(tokenFile);
    const tokens = new Tokens({ store: this.#store, fileToken, loopback: api === null || isLoopback(api.host) });
    await tokens.refresh();
    return tokens;
  }

  async #readToken(file: string): Promise<string> {
    const { readTokenFile } = await import('./api/token-file.ts');
    const { token, warnings } = await readTokenFile(file);
    for (const warning of warnings) this.#parts.log.warn({ event: 'warning' }, warning);
    return token;
  }
}

/** @throws QtunnelError `CONFIG_INVALID` when other machines could reach the API, and there would be no token. */
async function refuseOpen(listen: Address, hasToken: boolean): Promise<void> {
  const { isLoopback } = await import('./api/guard.ts');
  if (hasToken || isLoopback(listen.host)) return;
  const { withoutToken } = await import('./api/server.ts');
  throw withoutToken(listen);
}

const RETRY_MS = 5_000;
