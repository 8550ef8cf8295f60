import type { Logger } from 'pino';
import { type Mapping, mappingKey } from './mapping.ts';
import type { ConnectionState, Publisher } from './publisher.ts';
import type { Store, Traffic } from './store/store.ts';

/**
 * Counts connections and bytes of each mapping and client into the database, every few seconds and in the end, so that a hub that is
 * killed has lost that much of them. What the database does not take waits for the next time, in bounded memory.
 */
export class TrafficLedger {
  readonly #store: Store;
  readonly #publisher: Publisher;
  readonly #log: Logger;
  /** Not yet in the database, by mapping and client. */
  #pending = new Map<string, Traffic>();
  /** What was counted of the connections that are open, by their tags. */
  readonly #counted = new Map<string, Bytes>();
  /** By mapping: what the database had when it was read last, and what has come since. */
  #totals = new Map<string, Totals>();
  #timer: NodeJS.Timeout | null = null;
  #flushes = 0;
  #flushing: Promise<void> | null = null;
  #failing = false;

  constructor({ store, publisher, log }: { readonly store: Store; readonly publisher: Publisher; readonly log: Logger }) {
    this.#store = store;
    this.#publisher = publisher;
    this.#log = log;
  }

  /** @throws QtunnelError `DATABASE_FAILED` */
  async start(): Promise<void> {
    await this.#readTotals();
    this.#publisher.onConnectionEnd((connection) => {
      this.#count(connection);
      this.#counted.delete(connection.tag);
    });
    this.#timer = setInterval(() => void this.flush(), INTERVAL_MS).unref();
  }

  /** Writes down what was counted so far; one at a time. Does not throw. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flush().finally(() => (this.#flushing = null));
    return this.#flushing;
  }

  /** Of a mapping, ever since it was made. */
  totalsOf(mapping: Pick<Mapping, 'protocol' | 'port'>): Totals {
    return this.#totals.get(mappingKey(mapping)) ?? NOTHING;
  }

  /** The mapping is gone, and its counters with it. */
  forget(mapping: Pick<Mapping, 'protocol' | 'port'>): void {
    const key = mappingKey(mapping);
    this.#totals.delete(key);
    for (const [name, traffic] of this.#pending) if (mappingKey(traffic) === key) this.#pending.delete(name);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#flushing;
    await this.flush();
    this.#publisher.onConnectionEnd(() => {});
  }

  async #flush(): Promise<void> {
    this.#countOpen();
    if (this.#pending.size > 0) await this.#write();
    // Other hubs that share the database count as well.
    if (++this.#flushes % FLUSHES_BETWEEN_READS === 0 && !this.#failing) await this.#readTotals().catch(() => {});
  }

  async #write(): Promise<void> {
    const batch = this.#pending;
    this.#pending = new Map();
    try {
      await this.#store.addTraffic([...batch.values()]);
      if (this.#failing) this.#log.info({ event: 'counters_kept' }, 'the database takes traffic counters again');
      this.#failing = false;
    } catch (err) {
      if (!this.#failing)
        this.#log.error({ event: 'counters_wait', err }, 'traffic counters could not be written; they are kept and tried again');
      this.#failing = true;
      for (const traffic of batch.values()) this.#keep(traffic);
    }
  }

  async #readTotals(): Promise<void> {
    const totals = await this.#store.totals();
    this.#totals = new Map(totals.map((total) => [mappingKey(total), total]));
    for (const traffic of this.#pending.values()) this.#total(traffic);
  }

  /** One that has carried nothing may still be refused: it counts when it ends, of which nobody tells then. */
  #countOpen(): void {
    const open = this.#publisher.connections();
    for (const connection of open) if (connection.bytesIn + connection.bytesOut > 0) this.#count(connection);
    const tags = new Set(open.map(({ tag }) => tag));
    for (const tag of this.#counted.keys()) if (!tags.has(tag)) this.#counted.delete(tag);
  }

  #count({ tag, protocol, port, peer, bytesIn, bytesOut }: ConnectionState): void {
    const before = this.#counted.get(tag);
    const added = { bytesIn: bytesIn - (before?.bytesIn ?? 0), bytesOut: bytesOut - (before?.bytesOut ?? 0) };
    if (before !== undefined && added.bytesIn === 0 && added.bytesOut === 0) return;
    this.#counted.set(tag, { bytesIn, bytesOut });
    const connections = before === undefined ? 1 : 0;
    const traffic = { protocol, port, client: addressOf(peer), connections, ...added, seenAt: new Date() };
    this.#keep(traffic);
    this.#total(traffic);
  }

  #total(traffic: Traffic): void {
    this.#totals.set(mappingKey(traffic), plus(this.totalsOf(traffic), traffic));
  }

  #keep(traffic: Traffic): void {
    const named = `${mappingKey(traffic)}/${traffic.client}`;
    const full = this.#pending.size >= MOST_PENDING && !this.#pending.has(named);
    const key = full ? `${mappingKey(traffic)}/` : named;
    const sum = this.#pending.get(key);
    this.#pending.set(key, {
      ...traffic,
      client: full ? '' : traffic.client,
      connections: traffic.connections + (sum?.connections ?? 0),
      bytesIn: traffic.bytesIn + (sum?.bytesIn ?? 0),
      bytesOut: traffic.bytesOut + (sum?.bytesOut ?? 0),
    });
  }
}

export type Totals = Pick<Traffic, 'connections' | 'bytesIn' | 'bytesOut'>;

interface Bytes {
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export function sumOf(all: readonly Totals[]): Totals {
  return all.reduce(plus, NOTHING);
}

function plus(a: Totals, b: Totals): Totals {
  return {
    connections: a.connections + b.connections,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
  };
}

/** `[::1]:80` → `::1` */
function addressOf(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
}

const NOTHING: Totals = { connections: 0, bytesIn: 0, bytesOut: 0 };
const INTERVAL_MS = 2_000;
const FLUSHES_BETWEEN_READS = 5;
/** Clients with a line of their own between two writes; the others are counted together. */
const MOST_PENDING = 2_000;
