import { z } from 'zod';
import { NAME, type Parsed } from '../config/values.ts';
import { ERROR_CODES } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import type { LinkUse } from '../link/options.ts';
import { AllowList } from './allow-list.ts';
import { parseTarget } from './target.ts';

/**
 * What an agent and its hub say to each other on the agent's control stream (docs/PROTOCOL.md, "Hub and agents"). Fields that this version does not know are
 * ignored, so fields can be added; so are messages of another `type`.
 */
export type AgentMessage = z.infer<typeof agentMessage>;
export type HubMessage = z.infer<typeof hubMessage>;
export type Register = Extract<AgentMessage, { type: 'register' }>;
export type Registered = Extract<HubMessage, { type: 'registered' }>;

/** What the links of agents are used for. */
export const HUB_LINKS: LinkUse = { serverOpens: true, datagrams: true };
/** Where an agent's OPEN leads that is its control stream. No backend has such a name. */
export const CONTROL_TARGET = 'hub/control';
export const VERSION = 1;

const port = z.int().min(1).max(65_535);
const protocol = z.enum(['tcp', 'udp']);

const allowed = z
  .array(z.string().max(64))
  .max(256)
  .transform((texts, context) => valueOf(AllowList.parse(texts), context));

const wish = z.object({
  protocol,
  port,
  target: z.string().transform((text, context) => valueOf(parseTarget(text), context)),
});

const register = z.object({
  type: z.literal('register'),
  version: z.int().min(1),
  name: z.string().regex(NAME, { error: 'expected a name of letters, digits, "-", "_" and "."' }),
  /** By chance, the same for as long as the agent's process lives. */
  instance: z.string().regex(/^[0-9a-f]{16}$/),
  /** Whether this process has never been registered under this name before. */
  fresh: z.boolean(),
  software: z.string().max(64),
  allow: allowed,
  publish: z.array(wish).max(500),
});

const leave = z.object({ type: z.literal('leave') });

export const agentMessage = z.discriminatedUnion('type', [register, leave]);

const problem = z.object({ protocol, port, code: z.string().max(64), message: z.string().max(500) });

export const hubMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('registered'),
    /** `waiting` while another agent of this name is here. */
    state: z.enum(['active', 'waiting']),
    /** While waiting: where the other one is. */
    holder: z.string().max(64),
    software: z.string().max(64),
    /** The ports that were asked for and cannot be had. */
    problems: z.array(problem).max(500),
  }),
  z.object({ type: z.literal('refused'), code: z.enum(ERROR_CODES).catch('AGENT_REFUSED'), message: z.string().max(500) }),
]);

/** As it goes over the wire. */
export function encodeRegister({ allow, publish, ...rest }: Omit<Register, 'type' | 'version'>): object {
  const wishes = publish.map(({ target, ...wanted }) => ({ ...wanted, target: formatAddress(target) }));
  return { type: 'register', version: VERSION, ...rest, allow: allow.texts, publish: wishes };
}

function valueOf<T>(parsed: Parsed<T>, context: z.RefinementCtx): T {
  if ('value' in parsed) return parsed.value;
  context.addIssue({ code: 'custom', message: `expected ${parsed.expected}` });
  return z.NEVER;
}
