import type { LevelChangeEventListener, Logger } from 'pino';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { closeWorkers } from '../identity/workers.ts';
import { formatAddress } from '../link/address.ts';
import { Counts } from '../observe/counts.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Observing } from '../observe/observe.ts';
import { OWN_PORTS, type Ports } from '../ports/ports.ts';
import { ROOM } from '../resources/room.ts';
import { listenTls } from '../tls/listen.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { NO_EVENTS } from '../tunnel/events.ts';
import type { Running } from '../tunnel/run.ts';
import { type Supplies, suppliesWith } from '../tunnel/supplies.ts';
import type { SettingsChange } from '../tunnel/tunnel.ts';
import { AgentTunnel } from './agent.ts';
import { tellChanges } from './changes.ts';
import { Hub } from './hub.ts';
import { Management } from './management.ts';
import type { AgentSettings, HubSettings } from './settings.ts';
import { agentValues, type FlagValues, hubValues } from './values.ts';

export interface RunContext {
  readonly log: Logger;
  /** Where to serve metrics; null for nowhere. */
  readonly metrics: Address | null;
  /** Bytes of memory that the process may have; null for as many as there are. */
  readonly maxMemory: number | null;
  /** This process's own when left out. */
  readonly ports?: Ports;
  /** How often the process has been started again under supervision; null, or left out, without it. */
  readonly restarts?: number | null;
}

/** A hub or an agent that runs. */
export interface RunningSide<Settings> extends Running<Settings> {
  /** Resolves when the thread has its turn. */
  answer(): Promise<void>;
  /** Why another process under the same supervisor cannot take its place while it drains. */
  readonly obstacle: string;
}

/** Starts a hub. @throws QtunnelError when it cannot start. */
export async function runHub(settings: HubSettings, context: RunContext): Promise<RunningSide<HubSettings>> {
  const addMetrics = context.metrics === null ? null : (await import('./metrics.ts')).addHubMetrics;
  const make = (around: TunnelContext, metrics: Metrics | null): Hub => {
    const hub = new Hub(settings, around, suppliesOfHub(context.ports ?? OWN_PORTS));
    if (metrics !== null) addMetrics?.(metrics.registry, hub);
    return hub;
  };
  // Before agents come in, so that none asks for the port of a mapping that is kept.
  const manage = async (hub: Hub): Promise<Attachment<HubSettings> | null> => {
    const { management: own, tunnel: identity, takesAgents: tunnelEnabled } = settings;
    const management = await Management.start({ settings: own, identity, publisher: hub, tunnelEnabled, log: context.log });
    if (management === null) return null;
    return {
      serve: () => management.serve(),
      prepare: (next) => management.prepare(next.management, next.tunnel),
      stop: () => management.stop(),
      close: () => management.close(),
    };
  };
  return await run(settings, context, { make, attach: manage, values: hubValues, obstacle: ONE_HUB });
}

/** Starts an agent. The hub may come up later. @throws QtunnelError when it cannot start. */
export async function runAgent(settings: AgentSettings, context: RunContext): Promise<RunningSide<AgentSettings>> {
  const make = (around: TunnelContext): AgentTunnel => new AgentTunnel(settings, around);
  return await run(settings, context, { make, values: agentValues, obstacle: BY_NAME });
}

/** What goes with one of them. */
interface Attachment<Settings> {
  /** It works. */
  serve(): Promise<void>;
  prepare(settings: Settings): Promise<SettingsChange>;
  /** It is to end. */
  stop(): Promise<void>;
  /** It has ended. */
  close(): Promise<void>;
}

/** A hub or an agent. */
interface Side<Settings> {
  prepare(settings: Settings): Promise<SettingsChange>;
  drain(): Promise<boolean>;
  close(reason: QtunnelError): Promise<void>;
}

interface Making<Settings, One extends Side<Settings>> {
  readonly make: (around: TunnelContext, metrics: Metrics | null) => One;
  readonly attach?: (side: One) => Promise<Attachment<Settings> | null>;
  readonly values: (settings: Settings) => FlagValues;
  readonly obstacle: RunningSide<Settings>['obstacle'];
}

async function run<Settings extends HubSettings | AgentSettings, One extends Side<Settings>>(
  settings: Settings,
  { log, metrics: where, maxMemory, restarts = null, ports = OWN_PORTS }: RunContext,
  { make, attach, values, obstacle }: Making<Settings, One>,
): Promise<RunningSide<Settings>> {
  ROOM.memory.cap = maxMemory ?? Infinity;
  const observing = where === null ? null : await observe(where, { maxMemory, restarts }, { log, ports });
  const counts = observing?.metrics ?? new Counts();
  const { tag, clientmode } = settings.tunnel;
  const around = {
    log: log.child({ tunnel: tag }),
    metrics: counts.tunnel(tag, { clientmode, links: () => [] }),
    events: NO_EVENTS,
  };
  const side = make(around, observing?.metrics ?? null);
  const handleLevel: LevelChangeEventListener = (level, _value, _before, _valueBefore, logger): void => {
    if (logger === log) around.log.level = level;
  };
  log.on('level-change', handleLevel);
  let attachment: Attachment<Settings> | null = null;
  let current = settings;
  const reload = async ([next = settings]: readonly Settings[]): Promise<void> => {
    const changes = await prepareAll([side, attachment], next);
    for (const change of changes) change.takeEffect();
    tellChanges(around.log, { atStart: values(settings), before: values(current), now: values(next) });
    current = next;
  };
  const close = async (): Promise<void> => {
    await attachment?.stop();
    await side.close(new QtunnelError('SHUTTING_DOWN', `The ${tag} was stopped.`));
    await attachment?.close();
    await observing?.server.close();
    log.off('level-change', handleLevel);
    await closeWorkers();
  };
  try {
    attachment = (await attach?.(side)) ?? null;
    (await side.prepare(settings)).takeEffect();
    await attachment?.serve();
  } catch (error) {
    await close();
    throw error;
  }
  return { reload, drain: () => side.drain(), close, failed: new Promise(() => {}), answer, obstacle };
}

/** The process has one thread, which this runs on. */
async function answer(): Promise<void> {
  await Promise.resolve();
}

/** All of them are ready, or none. */
async function prepareAll<Settings>(
  parts: readonly (Pick<Side<Settings>, 'prepare'> | null)[],
  settings: Settings,
): Promise<readonly SettingsChange[]> {
  const ready: SettingsChange[] = [];
  try {
    for (const part of parts) if (part !== null) ready.push(await part.prepare(settings));
    return ready;
  } catch (error) {
    for (const change of ready) change.discard();
    throw error;
  }
}

async function observe(
  where: Address,
  about: { readonly maxMemory: number | null; readonly restarts: number | null },
  { log, ports }: { readonly log: Logger; readonly ports: Ports },
): Promise<Observing> {
  const { startObserving } = await import('../observe/observe.ts');
  const observing = await startObserving(where, about, ports.listen);
  const address = formatAddress({ ...observing.server.address, host: where.host === '' ? '127.0.0.1' : where.host });
  log.info({ event: 'metrics', address }, `metrics on http://${address}/metrics`);
  return observing;
}

/** Its ports outlive the process under supervision. There is no second process, so a link's further connections need not be found in another one. */
function suppliesOfHub(ports: Ports): Supplies {
  const { listen } = ports;
  return { ...suppliesWith(ports), listenTls: (address, keys, options) => listenTls(address, keys, options, { listen }) };
}

const ONE_HUB = 'only one process has the public ports and the database of a hub';
const BY_NAME = 'an agent is followed by another one of its name, which can be started beside it';
