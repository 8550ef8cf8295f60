import type { Test } from 'tap';
import type { TunnelSettings } from '../../src/config/settings.ts';
import { AgentTunnel } from '../../src/hub/agent.ts';
import { AllowList } from '../../src/hub/allow-list.ts';
import { Hub } from '../../src/hub/hub.ts';
import type { Mapping } from '../../src/hub/mapping.ts';
import type { MappingState } from '../../src/hub/publisher.ts';
import type { AgentSettings, HubSettings } from '../../src/hub/settings.ts';
import { parseWish } from '../../src/hub/wish.ts';
import type { Parsed } from '../../src/config/values.ts';
import { eventually } from '../support/deadline.ts';
import type { Owner } from '../support/process.ts';
import { dial, ending, freePort } from '../support/tcp.ts';
import { type LogLine, OVER, tunnelSettings, watched } from '../tunnel/tunnels.ts';

export interface RunningHub {
  readonly hub: Hub;
  readonly settings: HubSettings;
  readonly lines: readonly LogLine[];
}

/** A hub in this process, ended with the test. */
export async function startHub(
  t: Owner,
  settings: Partial<TunnelSettings> = {},
  own: Partial<HubSettings> = {},
): Promise<RunningHub> {
  const { context, lines } = watched();
  const listen = { host: '127.0.0.1', port: await freePort() };
  const all: HubSettings = {
    tunnel: tunnelSettings(t, { tag: 'hub', listen, backend: null, keepalive: 1_000, ...settings }),
    takesAgents: true,
    ports: { host: '127.0.0.1', first: 10_000, last: 30_000 },
    management: { api: null, tls: false, tokenFile: null, networks: null, rate: 1_000, database: null },
    udpTimeout: 120_000,
    ...own,
  };
  const hub = new Hub(all, context);
  (await hub.prepare(all)).takeEffect();
  t.teardown(() => hub.close(OVER));
  return { hub, settings: all, lines };
}

export interface AgentOptions {
  readonly name?: string;
  readonly allow?: readonly string[];
  /** As after `-R`. */
  readonly wishes?: readonly string[];
  readonly tunnel?: Partial<TunnelSettings>;
}

export interface RunningAgent {
  readonly agent: AgentTunnel;
  readonly settings: AgentSettings;
  readonly lines: readonly LogLine[];
}

/** An agent in this process, ended with the test. */
export async function startAgent(
  t: Test,
  { settings: { tunnel } }: { readonly settings: Pick<HubSettings, 'tunnel'> },
  { name = 'box', allow = ['localhost:*'], wishes = [], tunnel: changes = {} }: AgentOptions = {},
): Promise<RunningAgent> {
  const { context, lines } = watched();
  const settings: AgentSettings = {
    tunnel: tunnelSettings(t, {
      tag: 'agent',
      clientmode: true,
      backend: tunnel.listen,
      quic: tunnel.quic,
      fallback: tunnel.fallback,
      keepalive: 1_000,
      ...changes,
    }),
    name,
    allow: value(AllowList.parse(allow)),
    wishes: wishes.map((text) => value(parseWish(text))),
  };
  const agent = new AgentTunnel(settings, context);
  (await agent.prepare(settings)).takeEffect();
  t.teardown(() => agent.close(OVER));
  return { agent, settings, lines };
}

/** A mapping as the API would make it. */
export function mapping(port: number, targetPort: number, changes: Partial<Mapping> = {}): Mapping {
  return {
    protocol: 'tcp',
    port,
    via: 'agent',
    agent: '',
    target: { host: '127.0.0.1', port: targetPort },
    allow: [],
    bandwidth: Infinity,
    note: '',
    ...changes,
  };
}

/** The hub's state of a port, once it is as wanted. */
export async function stateOf(
  { hub }: RunningHub,
  port: number,
  holds: (state: MappingState) => boolean = () => true,
): Promise<MappingState> {
  const find = () => hub.mappings().find((state) => state.mapping.port === port && holds(state));
  await eventually(`the state of port ${port} (${JSON.stringify(hub.mappings())})`, () => find() !== undefined);
  return find()!;
}

/** Whether a connection to this port is reset, which may be as soon as it is made. */
export async function isReset(t: Test, port: number): Promise<boolean> {
  try {
    return (await ending(await dial(t, port))) === 'reset';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return true;
    throw error;
  }
}

export function isReady({ ready }: MappingState): boolean {
  return ready;
}

export function value<T>(parsed: Parsed<T>): T {
  if ('value' in parsed) return parsed.value;
  throw new Error(`expected ${parsed.expected}`);
}
