import type { Address } from '../../config/settings.ts';
import { formatAddress } from '../../link/address.ts';
import { parseValue } from '../../config/values.ts';
import { parseNetworks } from '../allow-list.ts';
import type { Mapping } from '../mapping.ts';
import { parseTarget } from '../target.ts';
import { type Expectation, HOST, NETWORK, RATE, TARGET } from './expectations.ts';
import { type FieldProblem, Refusal } from './refusal.ts';
import type { MappingChange, MappingInput } from './schemas.ts';

/**
 * The mapping that somebody asks for.
 * @param tunnelEnabled whether the hub takes agents: where it does not, what is left out means that the hub dials.
 * @throws Refusal `INPUT_INVALID` that says every field that does not fit.
 */
export function mappingFrom(input: MappingInput, tunnelEnabled: boolean): Mapping {
  const problems: FieldProblem[] = [];
  const refuse = (field: string, message: string): void => void problems.push({ field, message });
  const via = input.via ?? (tunnelEnabled || input.agent !== undefined ? 'agent' : 'direct');
  if (via === 'direct' && input.agent !== undefined) refuse('agent', NO_AGENT);
  if (via === 'agent' && !tunnelEnabled) refuse('via', 'expected "direct": this hub takes no agents');
  const target = targetFrom(input, refuse);
  const allow = networksFrom(input.allow_ips ?? [], refuse);
  const bandwidth = bandwidthFrom(input.bandwidth, refuse);
  if (problems.length > 0 || target === null) throw new Refusal('INPUT_INVALID', sentence(problems), { fields: problems });
  return {
    protocol: input.protocol ?? 'tcp',
    port: input.port,
    via,
    agent: input.agent ?? '',
    target,
    allow,
    bandwidth,
    note: input.note ?? '',
  };
}

/**
 * The mapping as somebody wants it changed.
 * @throws Refusal `INPUT_INVALID` that says every field that does not fit.
 */
export function changedMapping(before: Mapping, change: MappingChange): Mapping {
  const problems: FieldProblem[] = [];
  const refuse = (field: string, message: string): void => void problems.push({ field, message });
  const { note = before.note, agent = before.agent } = change;
  if (before.via === 'direct' && typeof change.agent === 'string') refuse('agent', NO_AGENT);
  const target = change.target === undefined ? before.target : parsedTarget(change.target, refuse);
  const allow = change.allow_ips === undefined ? before.allow : networksFrom(change.allow_ips, refuse);
  const bandwidth = change.bandwidth === undefined ? before.bandwidth : bandwidthFrom(change.bandwidth, refuse);
  if (problems.length > 0 || target === null) throw new Refusal('INPUT_INVALID', sentence(problems), { fields: problems });
  return { ...before, agent: agent ?? '', target, allow, bandwidth, note };
}

type Refuse = (field: string, message: string) => void;

function targetFrom({ port, target, target_ip: host, target_port: targetPort }: MappingInput, refuse: Refuse): Address | null {
  const apart = host !== undefined || targetPort !== undefined;
  if (target === undefined && !apart) return none(refuse, 'target', said(TARGET, undefined));
  if (target !== undefined && apart) return none(refuse, 'target', 'expected either target, or target_ip and target_port');
  if (target !== undefined) return parsedTarget(target, refuse);
  const parsed = parseTarget(formatAddress({ host: host ?? '127.0.0.1', port: targetPort ?? port }));
  return 'value' in parsed ? parsed.value : none(refuse, 'target_ip', said(HOST, host));
}

function parsedTarget(target: string, refuse: Refuse): Address | null {
  const parsed = parseTarget(target);
  return 'value' in parsed ? parsed.value : none(refuse, 'target', said(TARGET, target));
}

function networksFrom(allow: readonly string[], refuse: Refuse): readonly string[] {
  for (const [index, network] of allow.entries())
    if ('expected' in parseNetworks([network])) refuse(`allow_ips.${index}`, said(NETWORK, network));
  return allow;
}

function none(refuse: Refuse, field: string, message: string): null {
  refuse(field, message);
  return null;
}

/** Whole bytes a second. */
function bandwidthFrom(given: MappingInput['bandwidth'], refuse: Refuse): number {
  if (given === undefined || given === null) return Infinity;
  if (typeof given === 'number') return Math.round(given / 8);
  const parsed = parseValue({ name: '', group: '', scope: 'command', kind: 'rate', help: '' }, given);
  if ('value' in parsed) return Math.round(Number(parsed.value) / 8);
  refuse('bandwidth', said(RATE, given));
  return Infinity;
}

function said({ error }: Expectation, input: unknown): string {
  return error({ input });
}

function sentence(problems: readonly FieldProblem[]): string {
  return problems.map(({ field, message }) => `${field}: ${message}`).join('; ');
}

const NO_AGENT = 'expected no agent for a mapping that the hub dials itself';
