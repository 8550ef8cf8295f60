import { randomBytes } from 'node:crypto';
import type { Test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { hmacSha256 } from '../../src/identity/secret.ts';
import type { Link } from '../../src/link/link.ts';
import type { LinkListener, ServerKeys } from '../../src/link/options.ts';
import { connectQuic, type QuicConnectOptions } from '../../src/quic/connect.ts';
import type { QuicConnection } from '../../src/quic/connection.ts';
import type { QuicEnvironment } from '../../src/quic/environment.ts';
import { listenQuic, type QuicListenOptions } from '../../src/quic/listen.ts';
import type { QuicLink } from '../../src/quic/link.ts';
import { LIMITS } from '../link/limits.ts';
import { LinkRecorder } from '../link/recorder.ts';
import { drive, driveOn, FakeClock } from '../support/fake-clock.ts';
import { issueCertificate } from '../support/issue-certificate.ts';
import { type Conditions, MemoryNetwork } from '../support/memory-network.ts';

export const SECRET = new Uint8Array(32).fill(7);
export const PORT = 9001;

export function quicOptions(options: Partial<QuicListenOptions> & { key?: Uint8Array | null } = {}): QuicListenOptions {
  const { key = SECRET, ...rest } = options;
  return {
    auth: { hmac: hmacSha256, key },
    congestion: 'bbr',
    blocks: 'auto',
    fec: 'auto',
    udp: 'auto',
    keepalive: 10_000,
    idleTimeout: 30_000,
    maxStreams: 1024,
    buffer: 1024 * 1024,
    serverOpens: true,
    wantsEndpoints: false,
    software: 'test',
    strangers: LIMITS,
    ...rest,
  };
}

export const connectOptions = (options: Parameters<typeof quicOptions>[0] = {}): QuicConnectOptions => ({
  ...quicOptions(options),
  checkServer: () => {},
});

/** An identity of its own each time; `nodeKey` makes it the same one. */
export function newKeys(nodeKey: Uint8Array = randomBytes(32)): ServerKeys {
  const { certificate, privateKey, der } = issueCertificate({ name: 'server', hosts: ['localhost'] });
  return { certificatePem: certificate, privateKeyPem: privateKey, certificateDer: der, nodeKey };
}

/** A machine that listens in a network of its own, on a clock of its own. */
export class World {
  readonly clock = new FakeClock();
  readonly network: MemoryNetwork;
  readonly keys: ServerKeys;
  /** The stretched secret of server and clients; null for none. */
  readonly key: Uint8Array | null;
  readonly failures: { error: QtunnelError; peer: string }[] = [];
  /** What the server's links do, in the order they came. */
  readonly links: LinkRecorder[] = [];
  listener!: LinkListener;
  readonly #watchers = new Set<() => void>();

  constructor(seed = 1, conditions: Partial<Conditions> = {}, key: Uint8Array | null = SECRET, keys = newKeys()) {
    this.key = key;
    this.keys = keys;
    this.network = new MemoryNetwork(this.clock, seed, conditions);
  }

  get environment(): QuicEnvironment {
    const watchAddresses = (onChange: () => void) => {
      this.#watchers.add(onChange);
      return () => this.#watchers.delete(onChange);
    };
    return { openUdp: this.network.open, clock: this.clock, date: this.clock.date, watchAddresses };
  }

  async listen(options: QuicListenOptions = quicOptions({ key: this.key }), keys: ServerKeys = this.keys): Promise<LinkListener> {
    this.listener = await listenQuic({ host: '', port: PORT }, keys, options, this.environment);
    this.listener.onLink = (link) => void this.links.push(new LinkRecorder(link));
    this.listener.onHandshakeFailure = (error, peer) => void this.failures.push({ error, peer });
    return this.listener;
  }

  /** Clients' machines hear that their addresses have changed: sockets that are opened from now on have this one. */
  changeAddress(host: string): void {
    this.network.clientHost = host;
    for (const watcher of this.#watchers) watcher();
  }

  connect(options: QuicConnectOptions = connectOptions({ key: this.key }), signal = new AbortController().signal): Promise<Link> {
    return connectQuic({ host: '127.0.0.1', port: PORT, serverName: 'localhost' }, options, signal, this.environment);
  }

  /** A few in a hundred do not make it within 10 s at 30 % loss: quiche's first probe goes out after one second, the fourth after 15. Those try once more. */
  connectInSpiteOfLoss(): Promise<Link> {
    const connect = (): Promise<Link> => this.until(this.connect(), 'a link or a refusal');
    return connect().catch((error: QtunnelError) => {
      if (error.code !== 'LINK_TIMEOUT') throw error;
      return connect();
    });
  }

  /** Runs the world until the promise has settled. */
  async until<T>(promise: Promise<T>, what?: string): Promise<T> {
    let settled = false;
    const settle = (): void => void (settled = true);
    promise.then(settle, settle);
    await this.drive(() => settled, what);
    return await promise;
  }

  drive(done: () => boolean, what?: string): Promise<void> {
    return drive(this.clock, done, what);
  }
}

export interface WorldPair {
  readonly world: World;
  readonly client: LinkRecorder;
  readonly server: LinkRecorder;
}

/** A world with a link that is up, before `conditions` take effect. */
export async function makeWorld(
  options: {
    seed?: number;
    conditions?: Partial<Conditions>;
    link?: Parameters<typeof quicOptions>[0];
    keepsWhole?: boolean;
  } = {},
): Promise<WorldPair> {
  const world = new World(options.seed);
  world.network.keepsWhole = options.keepsWhole ?? false;
  const mtu = options.conditions?.mtu;
  if (mtu !== undefined) world.network.set({ mtu });
  await world.listen(quicOptions(options.link));
  const client = new LinkRecorder(await world.until(world.connect(connectOptions(options.link))));
  await world.drive(() => world.links.length > 0, 'the server’s link');
  world.network.set(options.conditions ?? {});
  return { world, client, server: world.links[0]! };
}

/** The same, with time running in the background until the test ends. */
export async function makeRunningWorld(t: Test, options?: Parameters<typeof makeWorld>[0]): Promise<WorldPair> {
  const pair = await makeWorld(options);
  t.teardown(driveOn(pair.world.clock));
  return pair;
}

/** What only the QUIC link has. */
export const quic = ({ link }: LinkRecorder): QuicLink => link as QuicLink;

export const REQUEST = { tag: '00112233445566ff', target: '' };
export const OVER = new QtunnelError('LINK_CLOSED', 'The test is over.');

/** How many of the QUIC streams up to `last` quiche still has something to do for at either end: unread, unsent or unacknowledged. */
export function quicStreamsAlive({ client, server }: WorldPair, last: number): number {
  let n = 0;
  for (const end of [client, server]) {
    for (let id = 2; id <= last; id++) if ((id & 2) !== 0 && isAlive(quic(end).connection, id)) n++;
  }
  return n;
}

function isAlive({ native }: QuicConnection, id: number): boolean {
  try {
    native.streamCapacity(id);
    return true;
  } catch (error) {
    return !String((error as Error).message).startsWith('InvalidStreamState');
  }
}
