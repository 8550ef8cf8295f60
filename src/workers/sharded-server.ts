import type { TunnelSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';
import { loadServerIdentity } from '../identity/server-identity.ts';
import type { LinkListener } from '../link/options.ts';
import type { QuicListenOptions } from '../quic/listen.ts';
import type { Ports } from '../ports/ports.ts';
import { listenTls } from '../tls/listen.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { Listeners, type OpenEars } from '../tunnel/listeners.ts';
import { loadAuth } from '../tunnel/security.ts';
import { announceServer } from '../tunnel/server.ts';
import type { SettingsChange, Tunnel } from '../tunnel/tunnel.ts';
import type { UdpAddress } from '../udp/socket.ts';
import type { Preparation } from './messages.ts';
import type { WorkerPool } from './pool.ts';
import { nextNumber, WorkerParts } from './sharded-tunnel.ts';
import type { ProcessSockets, SocketCalls } from '../ports/socket-calls.ts';
import type { UdpGroup } from '../ports/udp-group.ts';

/** A server in several workers: the main thread opens the ports; the kernel spreads datagrams over the workers, and TCP connections are given to them. */
export class ShardedServer implements Tunnel {
  #settings: TunnelSettings;
  readonly #context: TunnelContext;
  readonly #pool: WorkerPool;
  readonly #calls: SocketCalls;
  readonly #ports: Ports;
  readonly #parts: WorkerParts;
  readonly #listeners: Listeners;
  readonly #forgetUdp: () => void;
  readonly #udpEars = new Map<number, UdpEar>();
  /** What the preparation that is under way has opened. */
  #opened: Opened = NOTHING;
  #stopping = false;

  constructor(settings: TunnelSettings, context: TunnelContext, pool: WorkerPool, { calls, ports }: ProcessSockets) {
    this.#settings = settings;
    this.#context = context;
    this.#pool = pool;
    this.#calls = calls;
    this.#ports = ports;
    this.#parts = new WorkerParts(pool, calls, context);
    this.#listeners = new Listeners(
      { onLink: (link) => link.drain(), onTurnedAway() {}, hasRoom: () => true, refuseLink: () => null, onRefusal() {} },
      this.#openEars(),
    );
    this.#forgetUdp = pool.onUdpClosed(this.#handleUdpClosed);
  }

  get settings(): TunnelSettings {
    return this.#settings;
  }

  get connections(): number {
    return this.#parts.tally.connections;
  }

  async prepare(settings: TunnelSettings): Promise<SettingsChange> {
    const { log, metrics } = this.#context;
    const loaded = await loadAuth(settings, log);
    const identity = await loadServerIdentity(settings);
    this.#opened = NOTHING;
    const change = await this.#listeners.prepare(settings, identity, loaded.auth);
    const { udp, tcp } = this.#opened;
    try {
      await this.#parts.prepare((worker) => ({
        settings,
        keys: loaded.keys,
        identity: { ...identity, warnings: [] },
        opened: {
          udp: udp && {
            ear: udp.number,
            fd: udp.descriptors[worker]!,
            address: udp.address,
            place: this.#ports.place(worker, this.#pool.count),
          },
          tcp,
        },
      }));
    } catch (error) {
      change.discard();
      throw error;
    }
    const discard = (): void => {
      change.discard();
      this.#parts.discard();
    };
    const takeEffect = (): void => {
      if (this.#stopping) return discard();
      metrics.source = { clientmode: false, links: () => [] };
      for (const warning of identity.warnings) log.warn(warning);
      this.#settings = settings;
      if (udp !== null) udp.inUse = true;
      const announce = (): void => announceServer(log, settings, identity, this.#listeners, loaded);
      const effective = this.#parts.takeEffect();
      change.takeEffect();
      // Whoever reads that it listens may send at once.
      effective.then(change.moves ? announce : () => {}, () => {});
    };
    return { takeEffect, discard };
  }

  async drain(): Promise<boolean> {
    this.#stopping = true;
    const portsFree = this.#listeners.close();
    const drained = await this.#parts.drain();
    await this.#unlessFailed(portsFree);
    return drained;
  }

  async close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    const portsFree = this.#listeners.close();
    await this.#parts.close(reason);
    await this.#unlessFailed(portsFree);
  }

  /** A worker that has failed says nothing of its sockets any more. */
  async #unlessFailed(done: Promise<void>): Promise<void> {
    await Promise.race([done, this.#pool.failed]);
    this.#forgetUdp();
  }

  #openEars(): OpenEars {
    return {
      listenTls: async (address, keys, options) => {
        const ear = nextNumber();
        const listener = await listenTls(address, keys, options, {
          take: (socket) => this.#parts.give(socket, ear),
          listen: this.#ports.listen,
        });
        this.#opened = { ...this.#opened, tcp: { ear, address: listener.address } };
        return listener;
      },
      loadQuic: () => Promise.resolve({ listenQuic: (address) => this.#openUdp(address) }),
    };
  }

  async #openUdp(address: UdpAddress): Promise<UdpEar> {
    const ear = new UdpEar(await this.#ports.openUdpGroup(address, this.#pool.count, this.#calls), this.#pool.count);
    this.#udpEars.set(ear.number, ear);
    void ear.closed.then(() => this.#udpEars.delete(ear.number));
    this.#opened = { ...this.#opened, udp: ear };
    return ear;
  }

  readonly #handleUdpClosed = (number: number): void => this.#udpEars.get(number)?.handleWorkerClosed();
}

interface Opened {
  readonly udp: UdpEar | null;
  readonly tcp: Preparation['opened']['tcp'];
}

/** The main thread's end of a UDP group: it keeps the port until all workers have closed their sockets. */
class UdpEar implements LinkListener<QuicListenOptions> {
  readonly number = nextNumber();
  readonly address: UdpAddress;
  /** The workers tell of theirs. */
  readonly handshakes = 0;
  readonly closed: Promise<void>;
  /** Whether workers have it; until then it closes at once. */
  inUse = false;
  onLink = (): void => {};
  onHandshakeFailure = (): void => {};
  hasRoom = (): boolean => true;
  refuseLink = (): null => null;
  onRefusal = (): void => {};
  readonly #group: UdpGroup;
  #open: number;
  #handleClosed!: () => void;

  constructor(group: UdpGroup, workers: number) {
    this.#group = group;
    this.#open = workers;
    this.address = group.address;
    this.closed = new Promise((resolve) => (this.#handleClosed = resolve));
  }

  get descriptors(): readonly number[] {
    return this.#group.descriptors;
  }

  /** The workers' own affair. */
  prepare(): () => void {
    return () => {};
  }

  close(): Promise<void> {
    if (!this.inUse) this.#finish();
    return this.closed;
  }

  handleWorkerClosed(): void {
    if (--this.#open === 0) this.#finish();
  }

  #finish(): void {
    this.#group.close();
    this.#handleClosed();
  }
}

const NOTHING: Opened = { udp: null, tcp: null };
