import { z } from 'zod';
import { VERSION } from '../../../version.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import type { ApiParts } from '../parts.ts';
import * as schemas from '../schemas.ts';
import { sumOf } from '../../traffic-ledger.ts';
import { agentView, connectionView, totalsOf, trafficView } from '../views.ts';

/** What the hub is doing. */
export function stateEndpoints({ keeper, ledger, publisher, tunnelEnabled, startedAt }: ApiParts): Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/health',
      summary: 'Whether the hub is there, and an agent',
      role: null,
      style: 'envelope',
      answer: { status: 200, description: 'It is there.', schema: schemas.health },
      handle: () => {
        const connected = publisher.agents().length > 0;
        return { data: { status: 'ok', tunnel_enabled: tunnelEnabled, tunnel_connected: connected }, message: 'ok' };
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/agents',
      summary: 'The agents that are connected',
      role: 'read',
      style: 'resource',
      answer: { status: 200, description: 'In the order of their names.', schema: z.object({ agents: z.array(schemas.agent) }) },
      handle: () => ({ data: { agents: publisher.agents().map(agentView) } }),
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/connections',
      summary: 'The open connections',
      role: 'read',
      style: 'resource',
      query: schemas.page,
      answer: {
        status: 200,
        description: 'A part of them, and how many there are.',
        schema: z.object({ total: z.int().min(0), connections: z.array(schemas.connection) }),
      },
      handle: ({ query: { limit, offset } }) => {
        const all = publisher.connections();
        return { data: { total: all.length, connections: all.slice(offset, offset + limit).map(connectionView) } };
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/stats',
      summary: 'The hub in figures',
      role: 'read',
      style: 'resource',
      answer: { status: 200, description: 'Now, and traffic ever since.', schema: schemas.stats },
      handle: ({ author }) => {
        const mappings = keeper.list();
        return {
          data: {
            version: VERSION,
            role: author.role,
            started_at: startedAt.toISOString(),
            tunnel_enabled: tunnelEnabled,
            port_range: { from: publisher.portRange.first, end: publisher.portRange.last },
            mappings: mappings.length,
            mappings_ready: mappings.filter(({ problem }) => problem === '').length,
            agents: publisher.agents().length,
            connections: publisher.connections().length,
            traffic: trafficView(sumOf(mappings.map((report) => totalsOf(report, ledger)))),
          },
        };
      },
    }),
  ];
}
