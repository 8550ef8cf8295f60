import type { z } from 'zod';
import { formatAddress } from '../../link/address.ts';
import type { Moment } from '../live/live-feed.ts';
import type { MappingReport } from '../mapping-keeper.ts';
import type { AgentState, ConnectionState } from '../publisher.ts';
import type { AuditEntry, KeptToken, Traffic } from '../store/store.ts';
import type { Totals, TrafficLedger } from '../traffic-ledger.ts';
import type * as schemas from './schemas.ts';

/* The hub's own things as the API shows them. */

export function mappingView(report: MappingReport, ledger: TrafficLedger): z.input<typeof schemas.mapping> {
  const { mapping, createdAt, state, problem } = report;
  return {
    protocol: mapping.protocol,
    port: mapping.port,
    via: mapping.via,
    agent: orNull(mapping.agent),
    target: formatAddress(mapping.target),
    target_ip: mapping.target.host,
    target_port: mapping.target.port,
    allow_ips: [...mapping.allow],
    bandwidth: Number.isFinite(mapping.bandwidth) ? Math.round(mapping.bandwidth * 8) : null,
    note: mapping.note,
    origin: createdAt === null ? 'agent' : 'api',
    created_at: createdAt?.toISOString() ?? null,
    ready: state?.ready === true && problem === '',
    problem: orNull(problem),
    connections: state?.connections ?? 0,
    refused: state?.refusedTotal ?? 0,
    traffic: trafficView(totalsOf(report, ledger)),
    last_error: state?.lastError ? { at: state.lastError.at.toISOString(), message: state.lastError.message } : null,
  };
}

/** What a mapping has carried ever since it was made. One that an agent asked for is not in the database. */
export function totalsOf({ mapping, createdAt, state }: MappingReport, ledger: TrafficLedger): Totals {
  if (createdAt !== null || state === null) return ledger.totalsOf(mapping);
  const { connectionsTotal: connections, bytesIn, bytesOut } = state;
  return { connections, bytesIn, bytesOut };
}

export function trafficView({ connections, bytesIn, bytesOut }: Totals): z.input<typeof schemas.traffic> {
  return { connections, bytes_in: bytesIn, bytes_out: bytesOut };
}

export function clientView(traffic: Traffic): z.input<typeof schemas.clientTraffic> {
  return { client: orNull(traffic.client), traffic: trafficView(traffic), seen_at: traffic.seenAt.toISOString() };
}

export function agentView({ rtt, loss, since, allow, ...agent }: AgentState): z.input<typeof schemas.agent> {
  return { ...agent, rtt_ms: numberOrNull(rtt), loss: numberOrNull(loss), since: since.toISOString(), allow: [...allow] };
}

export function momentView({ at, mappings, agents }: Moment): z.input<typeof schemas.moment> {
  return {
    at: at.toISOString(),
    mappings: mappings.map(({ state, rateIn, rateOut }) => ({
      protocol: state.mapping.protocol,
      port: state.mapping.port,
      ready: state.ready,
      problem: orNull(state.problem),
      connections: state.connections,
      rate_in: Math.round(rateIn),
      rate_out: Math.round(rateOut),
    })),
    agents: agents.map(agentView),
  };
}

export function connectionView({
  agent,
  since,
  bytesIn,
  bytesOut,
  ...connection
}: ConnectionState): z.input<typeof schemas.connection> {
  return { ...connection, agent: orNull(agent), since: since.toISOString(), bytes_in: bytesIn, bytes_out: bytesOut };
}

export function tokenView({ id, name, role, createdAt }: KeptToken): z.input<typeof schemas.token> {
  return { id, name, role, created_at: createdAt.toISOString() };
}

export function auditView({ at, ...entry }: AuditEntry): z.input<typeof schemas.auditEntry> {
  return { ...entry, at: at.toISOString() };
}

function orNull(text: string): string | null {
  return text === '' ? null : text;
}

/** JSON has no NaN. */
function numberOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
