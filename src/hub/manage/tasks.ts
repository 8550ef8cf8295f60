import type { z } from 'zod';
import { formatValue } from '../../config/values.ts';
import { findFlag } from '../../config/flags.ts';
import { quote } from '../../config/layer.ts';
import { QtunnelError } from '../../errors.ts';
import { plainText } from '../../observe/plain-text.ts';
import type * as schemas from '../api/schemas.ts';
import type { ManageCommand } from './flags.ts';
import type { HubClient } from './hub-client.ts';
import { ageText, bytesText, textList, textTable } from './text-table.ts';

/** One command: what it asks the hub, and how the answer looks on a terminal. */
interface Task<A> {
  readonly summary: string;
  ask(hub: HubClient, values: Values): Promise<A>;
  show(answer: A): string;
}

type Values = ReadonlyMap<string, unknown>;
type Mapping = z.output<typeof schemas.mapping>;
type Agent = z.output<typeof schemas.agent>;
type Stats = z.output<typeof schemas.stats>;
type Token = z.output<typeof schemas.token>;
type NewToken = z.output<typeof schemas.newToken>;

const createMapping: Task<Mapping> = {
  summary: 'makes a mapping: a public port that leads to a target',
  ask: async (hub, values) => {
    const body = {
      port: needed(values, 'port', 10022),
      target: needed(values, 'target', '127.0.0.1:22'),
      ...(values.has('protocol') && { protocol: values.get('protocol') }),
      ...(values.get('direct') === true && { via: 'direct' }),
      ...propertiesFrom(values),
    };
    return (await hub.call('POST', '/api/v1/mappings', body)) as Mapping;
  },
  show: (mapping) => mappingTable([mapping]),
};

const updateMapping: Task<Mapping> = {
  summary: 'changes a mapping; who is not allowed now is cut off',
  ask: async (hub, values) => {
    const cleared = ((values.get('clear') ?? []) as readonly string[]).map(
      (property) => [fieldOf(property), CLEARED.get(property)] as const,
    );
    const body = { ...Object.fromEntries(cleared), ...propertiesFrom(values) };
    return (await hub.call('PATCH', `/api/v1/mappings/${nameFrom(values)}`, body)) as Mapping;
  },
  show: (mapping) => mappingTable([mapping]),
};

const removeMapping: Task<{ readonly removed: string }> = {
  summary: 'removes a mapping and cuts its connections off',
  ask: async (hub, values) => {
    const name = nameFrom(values);
    await hub.call('DELETE', `/api/v1/mappings/${name}`);
    return { removed: name };
  },
  show: ({ removed }) => `${removed} is gone\n`,
};

const listMappings: Task<{ readonly mappings: readonly Mapping[] }> = {
  summary: 'shows all mappings',
  ask: async (hub) => (await hub.call('GET', '/api/v1/mappings')) as { mappings: Mapping[] },
  show: ({ mappings }) => mappingTable(mappings),
};

const createToken: Task<NewToken> = {
  summary: 'makes a token for the API and prints it, this once',
  ask: async (hub, values) => {
    const body = { name: needed(values, 'name', 'laptop'), role: values.get('role') ?? 'read' };
    return (await hub.call('POST', '/api/v1/tokens', body)) as NewToken;
  },
  show: ({ token }) => `${plainText(token)}\n`,
};

const removeToken: Task<{ readonly removed: string }> = {
  summary: 'removes a token',
  ask: async (hub, values) => {
    const id = String(needed(values, 'id', '0123456789ab'));
    await hub.call('DELETE', `/api/v1/tokens/${encodeURIComponent(id)}`);
    return { removed: id };
  },
  show: ({ removed }) => `${removed} is gone\n`,
};

const listTokens: Task<{ readonly tokens: readonly Token[] }> = {
  summary: 'shows the tokens of the API, without their secrets',
  ask: async (hub) => (await hub.call('GET', '/api/v1/tokens')) as { tokens: Token[] },
  show: ({ tokens }) =>
    textTable(
      ['ID', 'NAME', 'ROLE', 'MADE'],
      tokens.map(({ id, name, role, created_at: made }) => [id, name, role, made]),
    ),
};

const agents: Task<{ readonly agents: readonly Agent[] }> = {
  summary: 'shows the agents that are connected',
  ask: async (hub) => (await hub.call('GET', '/api/v1/agents')) as { agents: Agent[] },
  show: ({ agents: all }) =>
    textTable(
      ['AGENT', 'FROM', 'OVER', 'RTT', 'LOSS', 'SINCE', 'OPEN', 'ALLOWS'],
      all.map((agent) => [
        agent.name,
        agent.peer,
        agent.transport === 'quic' ? 'QUIC' : 'TLS',
        agent.rtt_ms === null ? '–' : `${agent.rtt_ms.toFixed(1)} ms`,
        agent.loss === null ? '–' : `${(agent.loss * 100).toFixed(1)} %`,
        ageText(agent.since, Date.now()),
        String(agent.connections),
        agent.allow.join(', '),
      ]),
    ),
};

const status: Task<Stats> = {
  summary: 'shows the hub in figures',
  ask: async (hub) => (await hub.call('GET', '/api/v1/stats')) as Stats,
  show: (stats) =>
    textList([
      ['hub', `qtunnel ${stats.version}, up for ${ageText(stats.started_at, Date.now())}`],
      ['agents', stats.tunnel_enabled ? String(stats.agents) : 'not taken'],
      [
        'mappings',
        stats.mappings === stats.mappings_ready
          ? String(stats.mappings)
          : `${stats.mappings}, ${stats.mappings_ready} of them ready`,
      ],
      ['open', String(stats.connections)],
      [
        'carried',
        `${stats.traffic.connections} connections, ${bytesText(stats.traffic.bytes_in)} in, ${bytesText(stats.traffic.bytes_out)} out`,
      ],
    ]),
};

/** Each command, under its words. */
export const TASKS: { readonly [One in ManageCommand]: Task<never> | Task<unknown> } = {
  'mapping create': createMapping as Task<unknown>,
  'mapping update': updateMapping as Task<unknown>,
  'mapping remove': removeMapping as Task<unknown>,
  'mapping list': listMappings as Task<unknown>,
  'token create': createToken as Task<unknown>,
  'token remove': removeToken as Task<unknown>,
  'token list': listTokens as Task<unknown>,
  agents: agents as Task<unknown>,
  status: status as Task<unknown>,
};

/** What was said of a mapping, as the API calls it. */
function propertiesFrom(values: Values): Record<string, unknown> {
  const given = ['target', ...CLEARED.keys()].filter((property) => values.has(property));
  return Object.fromEntries(given.map((property) => [property === 'allow' ? 'allow_ips' : property, values.get(property)]));
}

function fieldOf(property: string): string {
  if (!CLEARED.has(property))
    throw new QtunnelError('USAGE', `-clear: expected ${[...CLEARED.keys()].join(', ')}, got ${quote(property)}`);
  return property === 'allow' ? 'allow_ips' : property;
}

function nameFrom(values: Values): string {
  return `${String(values.get('protocol') ?? 'tcp')}/${String(needed(values, 'port', 10022))}`;
}

function mappingTable(mappings: readonly Mapping[]): string {
  return textTable(
    ['PORT', 'TARGET', 'THROUGH', 'STATE', 'OPEN', 'IN', 'OUT', 'LIMIT', 'NOTE'],
    mappings.map((mapping) => [
      `${mapping.protocol}/${mapping.port}`,
      mapping.target,
      mapping.via === 'direct' ? 'the hub' : (mapping.agent ?? 'any agent'),
      mapping.ready ? 'ready' : (mapping.problem ?? 'not ready'),
      String(mapping.connections),
      bytesText(mapping.traffic.bytes_in),
      bytesText(mapping.traffic.bytes_out),
      mapping.bandwidth === null ? '–' : String(formatValue(findFlag('bandwidth')!, mapping.bandwidth)),
      mapping.note,
    ]),
  );
}

function needed(values: Values, name: string, example: unknown): unknown {
  const value = values.get(name);
  if (value === undefined) throw new QtunnelError('USAGE', `-${name} is missing: give it, as in -${name}=${String(example)}`);
  return value;
}

/** Flags that a mapping may be without, and what the API takes for that. */
const CLEARED: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['agent', null],
  ['allow', []],
  ['bandwidth', null],
  ['note', ''],
]);
