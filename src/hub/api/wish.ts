import type { Address } from '../../config/settings.ts';
import { formatAddress } from '../../link/address.ts';
import { parseValue } from '../../config/values.ts';
import { parseNetworks } from '../allow-list.ts';
import type { Mapping } from '../mapping.ts';
import { parseTarget } from '../target.ts';
import { type Expectation, HOST, NETWORK, RATE, TARGET } from './expectations.ts';
import { type FieldProblem, Refusal } from './refusal.ts';
import type { MappingInput } from './schemas.ts';

/**
 * The mapping that somebody asks for.
 * @param tunnelEnabled whether the hub takes agents: where it does not, what is left out means that the hub dials.
 * @throws Refusal `INPUT_INVALID` that says every field that does not fit.
 */
export function mappingFrom(input: MappingInput, tunnelEnabled: boolean): Mapping {
  const problems: FieldProblem[] = [];
  const refuse = (field: string, message: string): void => void problems.push({ field, message });
  const via = input.via ?? (tunnelEnabled || input.agent !== undefined ? 'agent' : 'direct');
  if (via === 'direct' && input.agent !== undefined) refuse('agent', 'expected no agent for a mapping that the hub dials itself');
  if (via === 'agent' && !tunnelEnabled) refuse('via', 'expected "direct": this hub takes no agents');
  const target = targetFrom(input, refuse);
  const allow = input.allow_ips ?? [];
  for (const [index, network] of allow.entries())
    if ('expected' in parseNetworks([network])) refuse(`allow_ips.${index}`, said(NETWORK, network));
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

type Refuse = (field: string, message: string) => void;

function targetFrom({ port, target, target_ip: host, target_port: targetPort }: MappingInput, refuse: Refuse): Address | null {
  const apart = host !== undefined || targetPort !== undefined;
  if (target === undefined && !apart) return none(refuse, 'target', said(TARGET, undefined));
  if (target !== undefined && apart) return none(refuse, 'target', 'expected either target, or target_ip and target_port');
  if (target !== undefined) {
    const parsed = parseTarget(target);
    return 'value' in parsed ? parsed.value : none(refuse, 'target', said(TARGET, target));
  }
  const parsed = parseTarget(formatAddress({ host: host ?? '127.0.0.1', port: targetPort ?? port }));
  return 'value' in parsed ? parsed.value : none(refuse, 'target_ip', said(HOST, host));
}

function none(refuse: Refuse, field: string, message: string): null {
  refuse(field, message);
  return null;
}

/** Bytes a second. */
function bandwidthFrom(given: MappingInput['bandwidth'], refuse: Refuse): number {
  if (given === undefined || given === null) return Infinity;
  if (typeof given === 'number') return given / 8;
  const parsed = parseValue({ name: '', group: '', scope: 'command', kind: 'rate', help: '' }, given);
  if ('value' in parsed) return Number(parsed.value) / 8;
  refuse('bandwidth', said(RATE, given));
  return Infinity;
}

function said({ error }: Expectation, input: unknown): string {
  return error({ input });
}

function sentence(problems: readonly FieldProblem[]): string {
  return problems.map(({ field, message }) => `${field}: ${message}`).join('; ');
}
