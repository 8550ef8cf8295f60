import type { LevelChangeEventListener, Logger } from 'pino';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { closeWorkers } from '../identity/workers.ts';
import { formatAddress } from '../link/address.ts';
import { Counts } from '../observe/counts.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Observing } from '../observe/observe.ts';
import { OWN_PORTS } from '../ports/ports.ts';
import { ROOM } from '../resources/room.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { NO_EVENTS } from '../tunnel/events.ts';
import type { Running } from '../tunnel/run.ts';
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
}

/** Starts a hub. @throws QtunnelError when it cannot start. */
export async function runHub(settings: HubSettings, context: RunContext): Promise<Running<HubSettings>> {
  const addMetrics = context.metrics === null ? null : (await import('./metrics.ts')).addHubMetrics;
  const make = (around: TunnelContext, metrics: Metrics | null): Hub => {
    const hub = new Hub(settings, around);
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
  return await run(settings, context, { make, attach: manage, values: hubValues });
}

/** Starts an agent. The hub may come up later. @throws QtunnelError when it cannot start. */
export async function runAgent(settings: AgentSettings, context: RunContext): Promise<Running<AgentSettings>> {
  const make = (around: TunnelContext): AgentTunnel => new AgentTunnel(settings, around);
  return await run(settings, context, { make, values: agentValues });
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
}

async function run<Settings extends HubSettings | AgentSettings, One extends Side<Settings>>(
  settings: Settings,
  { log, metrics: where, maxMemory }: RunContext,
  { make, attach, values }: Making<Settings, One>,
): Promise<Running<Settings>> {
  ROOM.memory.cap = maxMemory ?? Infinity;
  const observing = where === null ? null : await observe(where, maxMemory, log);
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
  return { reload, drain: () => side.drain(), close, failed: new Promise(() => {}) };
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

async function observe(where: Address, maxMemory: number | null, log: Logger): Promise<Observing> {
  const { startObserving } = await import('../observe/observe.ts');
  const observing = await startObserving(where, { maxMemory, restarts: null }, OWN_PORTS.listen);
  const address = formatAddress({ ...observing.server.address, host: where.host === '' ? '127.0.0.1' : where.host });
  log.info({ event: 'metrics', address }, `metrics on http://${address}/metrics`);
  return observing;
}
