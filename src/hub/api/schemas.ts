import { z } from 'zod';
import { NAME as NAME_PATTERN } from '../../config/values.ts';
import { ROLES } from '../store/store.ts';
import {
  type Expectation,
  expected,
  HOST,
  NAME,
  NETWORK,
  NETWORKS,
  NOTE,
  OBJECT,
  PORT,
  PROTOCOL,
  RATE,
  ROLE,
  TARGET,
  VIA,
} from './expectations.ts';
import { NETWORK_PATTERN, RATE_PATTERN, TARGET_PATTERN } from './patterns.ts';
import { STATUS } from './refusal.ts';

/*
 * What goes over the API: each shape once, for checking requests, for their types and for the OpenAPI document.
 */

const port = z.int(PORT).min(1, PORT).max(65_535, PORT).meta(says(PORT));
const protocol = z.enum(['tcp', 'udp'], PROTOCOL).meta(says(PROTOCOL));
const name = z.string(NAME).regex(NAME_PATTERN, NAME).meta(says(NAME));
const limit = z
  .union([z.int(RATE).min(8_000, RATE).max(1e12, RATE), z.string(RATE).max(32, RATE).meta({ pattern: RATE_PATTERN })], RATE)
  .meta(says(RATE));
const network = z
  .string(NETWORK)
  .max(64, NETWORK)
  .meta({ ...says(NETWORK), pattern: NETWORK_PATTERN });
const anyOfProtocols = protocol.optional().meta({ description: '"tcp" when left out.' });

const target = z
  .string(TARGET)
  .min(1, TARGET)
  .max(262, TARGET)
  .meta({ ...says(TARGET), pattern: TARGET_PATTERN });
const allowed = z.array(network, NETWORKS).max(256, NETWORKS);
const note = z
  .string(NOTE)
  .max(256, NOTE)
  // PostgreSQL keeps every character but this one.
  .regex(/^[^\0]*$/, NOTE)
  .meta({ ...says(NOTE), description: 'For people.' });

/** Of `POST /api/mapping/create` and `POST /api/v1/mappings`. */
export const mappingInput = z
  .strictObject(
    {
      port: port.meta({ description: 'The public port of the hub, one of -ports.', examples: [10022] }),
      protocol: anyOfProtocols,
      target: target.optional().meta({
        ...says(TARGET),
        pattern: TARGET_PATTERN,
        description: 'HOST:PORT, in the place of target_ip and target_port.',
        examples: ['127.0.0.1:22'],
      }),
      target_ip: z
        .string(HOST)
        .min(1, HOST)
        .max(253, HOST)
        .optional()
        .meta({ ...says(HOST), description: 'The host of the target; 127.0.0.1 when there is only a target_port.' }),
      target_port: port.optional().meta({ description: 'The port of the target; the public port when there is only a target_ip.' }),
      via: z
        .enum(['agent', 'direct'], VIA)
        .optional()
        .meta({
          ...says(VIA),
          description: 'Who dials the target. Left out: an agent, or the hub itself where it takes no agents.',
        }),
      agent: name
        .optional()
        .meta({ description: 'Only through the agent of this name; left out: through any that offers the target.' }),
      allow_ips: allowed.optional().meta({
        ...says(NETWORKS),
        description: 'Networks of the clients that may connect; left out or empty: everybody.',
        examples: [['192.0.2.0/24']],
      }),
      bandwidth: limit
        .nullable()
        .optional()
        .meta({
          description: 'The most bits a second in each direction, of all its connections together; kept in whole bytes.',
          examples: ['10Mbit'],
        }),
      note: note.optional(),
    },
    OBJECT,
  )
  .meta({ id: 'MappingInput' });

export type MappingInput = z.output<typeof mappingInput>;

/** Of `PATCH /api/v1/mappings/{protocol}/{port}`: what is left out stays as it is. */
export const mappingChange = z
  .strictObject(
    {
      target: target.optional(),
      agent: name
        .nullable()
        .optional()
        .meta({ description: 'Only through the agent of this name; null: any that offers the target.' }),
      allow_ips: allowed.optional().meta({
        ...says(NETWORKS),
        description: 'Networks of the clients that may connect; empty: everybody. Connections of others are cut off.',
      }),
      bandwidth: limit.nullable().optional().meta({ description: 'As when it is made; null for no limit.' }),
      note: note.optional(),
    },
    OBJECT,
  )
  .meta({ id: 'MappingChange' });

export type MappingChange = z.output<typeof mappingChange>;

/** Of `POST /api/mapping/remove`. */
export const mappingName = z.strictObject({ port, protocol: anyOfProtocols }, OBJECT).meta({ id: 'MappingName' });

/** In paths. */
export const mappingPath = z.object({ protocol, port: z.coerce.number(PORT).int(PORT).min(1, PORT).max(65_535, PORT) });
export const tokenPath = z.object({ id: z.string() });

export const page = z.object({
  limit: count(1, 10_000).default(1_000).meta({ description: 'The most to answer with.' }),
  offset: count(0, 1_000_000).default(0).meta({ description: 'So many are left out first.' }),
});

export const auditPage = z.object({
  limit: count(1, 1_000).default(100).meta({ description: 'The most to answer with.' }),
  before: count(1, Number.MAX_SAFE_INTEGER).optional().meta({ description: 'Only entries with a smaller id.' }),
});

const bytes = z.int().min(0);
const time = z.iso.datetime();

export const traffic = z.object({ connections: bytes, bytes_in: bytes, bytes_out: bytes }).meta({
  id: 'Traffic',
  description: 'Ever since the mapping was made, restarts of the hub included. In is from clients to the target.',
});

export const mapping = z
  .object({
    protocol,
    port,
    via: z.enum(['agent', 'direct']),
    agent: z.string().nullable(),
    target: z.string(),
    target_ip: z.string(),
    target_port: port,
    allow_ips: z.array(z.string()),
    bandwidth: z.number().nullable().meta({ description: 'Bits a second in each direction.' }),
    note: z.string(),
    origin: z.enum(['api', 'agent']).meta({ description: 'Who asked for it; what an agent asks for with -R is not kept.' }),
    created_at: time.nullable(),
    ready: z.boolean().meta({ description: 'Whether a new connection would be carried now.' }),
    problem: z.string().nullable().meta({ description: 'Why it would not.' }),
    connections: z.int().min(0).meta({ description: 'Open now.' }),
    refused: z
      .int()
      .min(0)
      .meta({ description: "Since the hub's start: by allow_ips, without an agent, or because the target could not be dialled." }),
    traffic,
    last_error: z.object({ at: time, message: z.string() }).nullable(),
  })
  .meta({ id: 'Mapping' });

export const clientTraffic = z
  .object({
    client: z.string().nullable().meta({ description: 'Null for all those that have no line of their own.' }),
    traffic,
    seen_at: time,
  })
  .meta({ id: 'ClientTraffic' });

export const agent = z
  .object({
    name: z.string(),
    transport: z.enum(['quic', 'tls']),
    peer: z.string(),
    link: z.string(),
    rtt_ms: z.number().nullable(),
    loss: z
      .number()
      .min(0)
      .max(1)
      .nullable()
      .meta({ description: 'Share of the packets to it that were lost; null over TLS, and until 1,000 were sent.' }),
    since: time,
    allow: z.array(z.string()),
    software: z.string(),
    connections: z.int().min(0),
  })
  .meta({ id: 'Agent' });

export const connection = z
  .object({
    tag: z.string(),
    protocol,
    port,
    peer: z.string(),
    agent: z.string().nullable(),
    since: time,
    bytes_in: bytes,
    bytes_out: bytes,
  })
  .meta({ id: 'Connection' });

const rate = z.int().min(0).meta({ description: 'Bytes a second.' });
const series = z.array(z.number().nullable());

export const moment = z
  .object({
    at: time,
    mappings: z.array(
      z.object({
        protocol,
        port,
        ready: z.boolean(),
        problem: z.string().nullable(),
        connections: z.int().min(0),
        rate_in: rate,
        rate_out: rate,
      }),
    ),
    agents: z.array(agent),
  })
  .meta({ id: 'Moment' });

const trafficHistory = { connections: series, rate_in: series, rate_out: series };

export const history = z
  .object({
    times: z.array(time),
    total: z.object(trafficHistory),
    agents: z.array(z.object({ name: z.string(), rtt_ms: series, loss: series, connections: series })),
  })
  .meta({ id: 'History' });

export const mappingHistory = z.object({ times: z.array(time), ...trafficHistory }).meta({ id: 'MappingHistory' });

export const stats = z
  .object({
    version: z.string(),
    role: z.enum(ROLES).meta({ description: 'What who asks may do.' }),
    started_at: time,
    tunnel_enabled: z.boolean(),
    port_range: z
      .object({ from: port, end: port })
      .meta({ description: 'The public ports that may be mapped, both ends among them.' }),
    mappings: z.int().min(0),
    mappings_ready: z.int().min(0),
    agents: z.int().min(0),
    connections: z.int().min(0),
    traffic,
  })
  .meta({ id: 'Stats' });

export const health = z
  .object({ status: z.literal('ok'), tunnel_enabled: z.boolean(), tunnel_connected: z.boolean() })
  .meta({ id: 'Health' });

export const tokenInput = z
  .strictObject(
    {
      name: name.meta({ description: 'For the audit log.' }),
      role: z.enum(ROLES, ROLE).meta(says(ROLE)),
    },
    OBJECT,
  )
  .meta({ id: 'TokenInput' });

export const token = z.object({ id: z.string(), name: z.string(), role: z.enum(ROLES), created_at: time }).meta({ id: 'Token' });

export const newToken = token
  .extend({ token: z.string().meta({ description: 'Shown this once: the hub keeps its SHA-256 only.' }) })
  .meta({ id: 'NewToken' });

export const auditEntry = z
  .object({
    id: z.int(),
    at: time,
    actor: z.string(),
    peer: z.string(),
    action: z.enum(['mapping.create', 'mapping.update', 'mapping.remove', 'token.create', 'token.remove']),
    subject: z.string(),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditEntry' });

const fieldProblem = z.object({ field: z.string(), message: z.string() });
const code = z
  .enum(Object.keys(STATUS) as [keyof typeof STATUS])
  .meta({ id: 'Code', description: 'Stable, for programs; docs/HUB-API.md has them all.' });

/** RFC 9457. */
export const problem = z
  .object({ title: z.string(), status: z.int(), detail: z.string(), code, errors: z.array(fieldProblem) })
  .meta({ id: 'Problem' });

/** `{success, message, data}` around `data`. */
export function envelope(data: z.ZodType) {
  return z.object({ success: z.literal(true), message: z.string(), data });
}

export const failure = z
  .object({ success: z.literal(false), message: z.string(), data: z.object({ code, errors: z.array(fieldProblem) }) })
  .meta({ id: 'Failure' });

/** What a form can say of a field, in the OpenAPI document. */
function says({ what }: Expectation): { readonly 'x-expected': string } {
  return { 'x-expected': what };
}

/** A number in a query, where all values are text. */
function count(least: number, most: number) {
  const words = expected(`a whole number from ${least} to ${most}`);
  return z.coerce.number(words).int(words).min(least, words).max(most, words);
}
