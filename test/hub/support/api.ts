import { request } from 'node:http';
import path from 'node:path';
import { isLoopback } from '../../../src/hub/api/guard.ts';
import { type Api, type ApiSettings, startApi } from '../../../src/hub/api/server.ts';
import { Tokens } from '../../../src/hub/api/tokens.ts';
import { LiveFeed } from '../../../src/hub/live/live-feed.ts';
import { MappingKeeper } from '../../../src/hub/mapping-keeper.ts';
import type { Publisher } from '../../../src/hub/publisher.ts';
import { openStore } from '../../../src/hub/store/open.ts';
import type { Store } from '../../../src/hub/store/store.ts';
import { TrafficLedger } from '../../../src/hub/traffic-ledger.ts';
import { temporaryFolder } from '../../support/files.ts';
import type { Owner } from '../../support/process.ts';
import { failing } from './failing-store.ts';
import { FakePublisher } from './fake-publisher.ts';
import { keptLog } from './kept-log.ts';

/** An API in front of some data plane. */
export interface RunningApi {
  readonly api: Api;
  readonly port: number;
  readonly store: Store;
  /** What the store is to fail at. */
  readonly broken: Set<keyof Store>;
  /** Its clock is the test's: `live.tick(time)`. */
  readonly live: LiveFeed;
  readonly tokens: Tokens;
  readonly log: ReturnType<typeof keptLog>;
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
}

export interface TestApi extends RunningApi {
  readonly publisher: FakePublisher;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into it
  readonly body: any;
}

export interface ApiOptions extends Partial<ApiSettings> {
  readonly fileToken?: string | null;
  readonly tunnelEnabled?: boolean;
  readonly database?: string;
}

export interface TestApiOptions extends ApiOptions {
  /** Whether the data plane really listens; it does unless told otherwise. */
  readonly listening?: boolean;
}

/** The API of a hub with a data plane that carries nothing, on a port of 127.0.0.1, without a limit of requests unless told otherwise. */
export async function startTestApi(t: Owner, { listening = true, ...options }: TestApiOptions = {}): Promise<TestApi> {
  const publisher = new FakePublisher(t, listening);
  return { ...(await startApiOf(t, publisher, options)), publisher };
}

/** The same of any data plane. */
export async function startApiOf(t: Owner, publisher: Publisher, options: ApiOptions): Promise<RunningApi> {
  const { fileToken = null, tunnelEnabled = true, ...rest } = options;
  const { database = path.join(temporaryFolder(t), 'hub.db'), ...changed } = rest;
  const { store, broken } = failing(await openStore(database));
  const log = keptLog();
  const ledger = new TrafficLedger({ store, publisher, log: log.log });
  const keeper = new MappingKeeper({ store, publisher, log: log.log, forget: (mapping) => ledger.forget(mapping) });
  const settings: ApiSettings = { listen: { host: '127.0.0.1', port: 0 }, tls: null, networks: null, rate: 1_000_000, ...changed };
  const tokens = new Tokens({ store, fileToken, loopback: isLoopback(settings.listen.host) });
  await Promise.all([ledger.start(), keeper.start(), tokens.refresh()]);
  const live = new LiveFeed(publisher);
  const parts = { store, keeper, ledger, publisher, live, tokens, tunnelEnabled, startedAt: new Date() };
  const api = await startApi(settings, parts, log.log);
  t.teardown(async () => {
    live.close();
    await api.close();
    await keeper.close();
    await ledger.close();
    await store.close();
  });
  const { port } = api.address;
  return { api, port, store, broken, live, tokens, log, call: (...words) => callApi(port, ...words) };
}

/** One request. A body that is text is sent as it is, anything else as JSON. */
export function callApi(
  port: number,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      headers: {
        ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        ...headers,
      },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text: answer, body: parse(answer) });
      });
    });
    sent.end(text);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
