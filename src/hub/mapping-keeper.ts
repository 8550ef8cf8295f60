import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import { describeMapping, type Mapping, mappingKey, type Protocol } from './mapping.ts';
import type { MappingState, Publisher } from './publisher.ts';
import type { Author, KeptMapping, Store } from './store/store.ts';
import { Turns } from './turns.ts';

export interface MappingKeeperParts {
  readonly store: Store;
  readonly publisher: Publisher;
  readonly log: Logger;
  /** Is told when a mapping is gone for good. */
  readonly forget?: (mapping: Pick<Mapping, 'protocol' | 'port'>) => void;
}

/** A mapping as it is asked for and as it is. */
export interface MappingReport {
  readonly mapping: Mapping;
  /** Null for one that an agent asked for, which is not kept. */
  readonly createdAt: Date | null;
  /** Null while the hub cannot listen on its port. */
  readonly state: MappingState | null;
  /** One sentence on why no connection is carried; empty when it would be. */
  readonly problem: string;
}

/**
 * Keeps the database and the open ports in step. Changes happen one after another:
 *
 * - create: the port is opened, then the row is written; when that fails the port is closed again.
 * - update: the row is written, then the port takes it over.
 * - remove: the row goes, then the port is closed.
 *
 * So a hub that dies in between has, when it is back, what the database has. A port that cannot be opened at start, or when another hub
 * has made a mapping, is tried again; until then the mapping is there with its problem.
 */
export class MappingKeeper {
  readonly #parts: MappingKeeperParts;
  readonly #store: Store;
  readonly #publisher: Publisher;
  readonly #log: Logger;
  #kept = new Map<string, KeptMapping>();
  /** Why the port of a kept mapping is not open. */
  readonly #problems = new Map<string, QtunnelError>();
  readonly #turns = new Turns();
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(parts: MappingKeeperParts) {
    this.#parts = parts;
    this.#store = parts.store;
    this.#publisher = parts.publisher;
    this.#log = parts.log;
  }

  /** Opens the ports of all mappings in the database. @throws QtunnelError `DATABASE_FAILED` */
  async start(): Promise<void> {
    await this.#next(() => this.#catchUp());
    this.#log.info({ event: 'mappings_restored', mappings: this.#kept.size, failed: this.#problems.size }, this.#summary());
  }

  /** Another hub has changed the mappings: takes over what is different. */
  refresh(): void {
    this.#next(() => this.#catchUp()).catch((err: unknown) => {
      if (this.#closed) return;
      this.#log.error({ event: 'mappings_not_read', err }, 'the mappings could not be read again; they are tried again');
      this.#retryLater();
    });
  }

  /** @throws QtunnelError as `Publisher.publish` does, and `DATABASE_FAILED`; nothing has changed then. */
  create(mapping: Mapping, by: Author): Promise<MappingReport> {
    return this.#next(() => this.#create(mapping, by));
  }

  /**
   * The mapping as `change` makes it of the one that is there; null when there is no such mapping. `change` leaves protocol and port as they are.
   * @throws QtunnelError `DATABASE_FAILED`, and what `change` throws; nothing has changed then.
   */
  update(protocol: Protocol, port: number, change: (mapping: Mapping) => Mapping, by: Author): Promise<MappingReport | null> {
    return this.#next(() => this.#update({ protocol, port }, change, by));
  }

  /** What was removed; null when there is no such mapping. @throws QtunnelError `DATABASE_FAILED`; nothing has changed then. */
  remove(protocol: Protocol, port: number, by: Author): Promise<MappingReport | null> {
    return this.#next(() => this.#remove(protocol, port, by));
  }

  /** In the order of protocol and port, with those that agents asked for. */
  list(): MappingReport[] {
    const states = new Map(this.#publisher.mappings().map((state) => [mappingKey(state.mapping), state]));
    const keys = [...new Set([...this.#kept.keys(), ...states.keys()])];
    return keys.map((key) => this.#report(key, states.get(key))).toSorted(byIdentity);
  }

  find(protocol: Protocol, port: number): MappingReport | undefined {
    return this.list().find(({ mapping }) => mapping.protocol === protocol && mapping.port === port);
  }

  /** Changes nothing any more; the ports stay as they are. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#turns.idle();
  }

  async #create(mapping: Mapping, by: Author): Promise<MappingReport> {
    const key = mappingKey(mapping);
    if (this.#kept.has(key)) throw taken(mapping);
    await this.#publisher.publish(mapping);
    const kept = { mapping, createdAt: new Date() };
    const added = await this.#store.addMapping(kept, by).catch(async (error: unknown) => {
      await this.#close(mapping);
      throw error;
    });
    if (!added) {
      // Another hub was faster, and its mapping is the one that counts.
      await this.#close(mapping);
      await this.#catchUp().catch(() => this.#retryLater());
      throw taken(mapping);
    }
    this.#kept.set(key, kept);
    this.#log.info(
      { event: 'mapping_created', mapping: key, by: by.actor, peer: by.peer },
      `new mapping ${describeMapping(mapping)}`,
    );
    return this.#report(key, this.#stateOf(mapping));
  }

  async #update(
    identity: Pick<Mapping, 'protocol' | 'port'>,
    change: (mapping: Mapping) => Mapping,
    by: Author,
  ): Promise<MappingReport | null> {
    const key = mappingKey(identity);
    const kept = this.#kept.get(key);
    if (kept === undefined) {
      if (this.#stateOf(identity)?.origin === 'agent') throw ofAgent(key);
      return null;
    }
    const mapping = change(kept.mapping);
    this.#publisher.judge(mapping);
    if (!(await this.#store.updateMapping(mapping, by))) {
      // Another hub has removed it.
      await this.#catchUp().catch(() => this.#retryLater());
      return null;
    }
    this.#kept.set(key, { ...kept, mapping });
    await this.#reopen(key, mapping);
    this.#log.info(
      { event: 'mapping_updated', mapping: key, by: by.actor, peer: by.peer },
      `changed mapping ${describeMapping(mapping)}`,
    );
    return this.#report(key, this.#stateOf(mapping));
  }

  async #remove(protocol: Protocol, port: number, by: Author): Promise<MappingReport | null> {
    const key = mappingKey({ protocol, port });
    const state = this.#stateOf({ protocol, port });
    if (!this.#kept.has(key)) {
      if (state?.origin === 'agent') throw ofAgent(key);
      return null;
    }
    const before = this.#report(key, state);
    await this.#store.removeMapping(protocol, port, by);
    this.#kept.delete(key);
    if (!this.#problems.delete(key)) await this.#close({ protocol, port });
    this.#parts.forget?.({ protocol, port });
    this.#log.info({ event: 'mapping_removed', mapping: key, by: by.actor, peer: by.peer }, `mapping ${key} is gone`);
    return before;
  }

  /** Makes the ports what the database says. */
  async #catchUp(): Promise<void> {
    const wanted = new Map((await this.#store.mappings()).map((kept) => [mappingKey(kept.mapping), kept]));
    const before = this.#kept;
    this.#kept = wanted;
    for (const [key, { mapping }] of before) {
      if (wanted.has(key)) continue;
      if (!this.#problems.delete(key)) await this.#close(mapping);
      this.#parts.forget?.(mapping);
    }
    for (const [key, { mapping }] of wanted) {
      const known = before.get(key)?.mapping;
      if (known === undefined) await this.#open(key, mapping);
      else if (this.#problems.has(key) || !isDeepStrictEqual(known, mapping)) await this.#reopen(key, mapping);
    }
    if (this.#problems.size > 0) this.#retryLater();
  }

  /** Makes the port what the mapping says; one that could not be opened is tried again. */
  async #reopen(key: string, mapping: Mapping): Promise<void> {
    if (this.#problems.has(key) || !(await this.#publisher.republish(mapping))) await this.#open(key, mapping);
  }

  async #open(key: string, mapping: Mapping): Promise<void> {
    try {
      await this.#publisher.publish(mapping);
      this.#problems.delete(key);
      this.#log.info({ event: 'mapping_published', mapping: key }, describeMapping(mapping));
    } catch (error) {
      const err = asQtunnelError(error);
      if (this.#problems.get(key)?.message !== err.message)
        this.#log.error({ event: 'mapping_failed', mapping: key, err }, `${describeMapping(mapping)}: ${err.message}`);
      this.#problems.set(key, err);
    }
  }

  /** What is not in the database must not stay open: a failure here is no reason to keep the row. */
  async #close({ protocol, port }: Pick<Mapping, 'protocol' | 'port'>): Promise<void> {
    try {
      await this.#publisher.withdraw(protocol, port);
    } catch (err) {
      const mapping = mappingKey({ protocol, port });
      this.#log.error({ event: 'mapping_stays_open', mapping, err }, `the port of ${mapping} could not be closed`);
    }
  }

  #report(key: string, state: MappingState | undefined): MappingReport {
    const kept = this.#kept.get(key);
    const problem = this.#problems.get(key)?.message;
    if (kept === undefined) return { mapping: state!.mapping, createdAt: null, state: state!, problem: state!.problem };
    // Another's mapping may have the port that this one could not get.
    const own = problem === undefined ? (state ?? null) : null;
    return { ...kept, state: own, problem: problem ?? own?.problem ?? 'The port is not open.' };
  }

  #stateOf({ protocol, port }: Pick<Mapping, 'protocol' | 'port'>): MappingState | undefined {
    return this.#publisher.mappings().find(({ mapping }) => mapping.protocol === protocol && mapping.port === port);
  }

  #retryLater(): void {
    if (this.#closed) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.refresh();
    }, RETRY_MS).unref();
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.next(() => {
      if (this.#closed) throw new QtunnelError('SHUTTING_DOWN', 'The hub is stopping.');
      return work();
    });
  }

  #summary(): string {
    const failed = this.#problems.size === 0 ? '' : `, ${this.#problems.size} of which cannot be opened and are tried again`;
    return `the database has ${this.#kept.size} mapping${this.#kept.size === 1 ? '' : 's'}${failed}`;
  }
}

function ofAgent(key: string): QtunnelError {
  return new QtunnelError('PORT_TAKEN', `The mapping ${key} lasts as long as its agent wants it (-R): tell the agent.`);
}

function taken({ protocol, port }: Mapping): QtunnelError {
  return new QtunnelError(
    'PORT_TAKEN',
    `The ${protocol.toUpperCase()} port ${port} is mapped already: choose another one, or remove that mapping.`,
  );
}

function byIdentity({ mapping: a }: MappingReport, { mapping: b }: MappingReport): number {
  return a.protocol === b.protocol ? a.port - b.port : a.protocol < b.protocol ? -1 : 1;
}

const RETRY_MS = 5_000;
