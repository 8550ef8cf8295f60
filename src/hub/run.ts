import type { LevelChangeEventListener, Logger } from 'pino';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { closeWorkers } from '../identity/workers.ts';
import { formatAddress } from '../link/address.ts';
import { Metrics } from '../observe/metrics.ts';
import { addMaxMemory } from '../observe/process-metrics.ts';
import { type ObserveServer, startObserveServer } from '../observe/server.ts';
import { ROOM } from '../resources/room.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { NO_EVENTS } from '../tunnel/events.ts';
import type { Running } from '../tunnel/run.ts';
import type { SettingsChange } from '../tunnel/tunnel.ts';
import { AgentTunnel } from './agent.ts';
import { Hub } from './hub.ts';
import { addHubMetrics } from './metrics.ts';
import type { AgentSettings, HubSettings } from './settings.ts';

export interface RunContext {
  readonly log: Logger;
  /** Where to serve metrics; null for nowhere. */
  readonly metrics: Address | null;
  /** Bytes of memory that the process may have; null for as many as there are. */
  readonly maxMemory: number | null;
}

/** Starts a hub. @throws QtunnelError when it cannot start. */
export async function runHub(settings: HubSettings, context: RunContext): Promise<Running<HubSettings>> {
  return await run(settings, context, (around, metrics) => {
    const hub = new Hub(settings, around);
    addHubMetrics(metrics.registry, hub);
    return hub;
  });
}

/** Starts an agent. The hub may come up later. @throws QtunnelError when it cannot start. */
export async function runAgent(settings: AgentSettings, context: RunContext): Promise<Running<AgentSettings>> {
  return await run(settings, context, (around) => new AgentTunnel(settings, around));
}

/** A hub or an agent. */
interface Side<Settings> {
  prepare(settings: Settings): Promise<SettingsChange>;
  drain(): Promise<boolean>;
  close(reason: QtunnelError): Promise<void>;
}

async function run<Settings extends HubSettings | AgentSettings>(
  settings: Settings,
  { log, metrics: where, maxMemory }: RunContext,
  make: (around: TunnelContext, metrics: Metrics) => Side<Settings>,
): Promise<Running<Settings>> {
  const metrics = new Metrics();
  ROOM.memory.cap = maxMemory ?? Infinity;
  if (maxMemory !== null) addMaxMemory(metrics.registry, maxMemory);
  const { tag, clientmode } = settings.tunnel;
  const around = {
    log: log.child({ tunnel: tag }),
    metrics: metrics.tunnel(tag, { clientmode, links: () => [] }),
    events: NO_EVENTS,
  };
  const side = make(around, metrics);
  const handleLevel: LevelChangeEventListener = (level, _value, _before, _valueBefore, logger): void => {
    if (logger === log) around.log.level = level;
  };
  log.on('level-change', handleLevel);
  let observer: ObserveServer | null = null;
  const reload = async ([next]: readonly Settings[]): Promise<void> => {
    const { takeEffect } = await side.prepare(next!);
    takeEffect();
  };
  const close = async (): Promise<void> => {
    await side.close(new QtunnelError('SHUTTING_DOWN', `The ${tag} was stopped.`));
    await observer?.close();
    log.off('level-change', handleLevel);
    await closeWorkers();
  };
  try {
    if (where !== null) observer = await observe(where, metrics, log);
    await reload([settings]);
  } catch (error) {
    await close();
    throw error;
  }
  return { reload, drain: () => side.drain(), close, failed: new Promise(() => {}) };
}

async function observe(where: Address, metrics: Metrics, log: Logger): Promise<ObserveServer> {
  const observer = await startObserveServer(where, metrics);
  const address = formatAddress({ ...observer.address, host: where.host === '' ? '127.0.0.1' : where.host });
  log.info({ event: 'metrics', address }, `metrics on http://${address}/metrics`);
  return observer;
}
