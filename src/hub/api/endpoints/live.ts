import { mappingKey } from '../../mapping.ts';
import type { LiveFeed } from '../../live/live-feed.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { EventStreams } from '../event-streams.ts';
import type { ApiParts } from '../parts.ts';
import { Refusal } from '../refusal.ts';
import * as schemas from '../schemas.ts';

/** What moves: as it happens, and over the last hour. */
export function liveEndpoints({ live, keeper, tokens }: ApiParts): Endpoint[] {
  const streams = new EventStreams(live, tokens);
  return [
    endpoint({
      method: 'GET',
      path: '/api/v1/events',
      summary: 'Throughput, connections and agents, every second (server-sent events)',
      role: 'read',
      style: 'resource',
      answer: {
        status: 200,
        description: 'Events of the type "moment"; the data of each is a Moment in JSON.',
        schema: schemas.moment,
        type: 'text/event-stream',
      },
      handle: ({ reply }) => {
        streams.open(reply);
        return {};
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/history',
      summary: 'The last hour of the hub and its agents, every ten seconds',
      role: 'read',
      style: 'resource',
      answer: { status: 200, description: 'The oldest first; null where there was nothing.', schema: schemas.history },
      handle: () => {
        const names = live.history.keys().filter((key) => key.startsWith(AGENT));
        const agents = names.map((key) => ({ name: key.slice(AGENT.length), ...agentSeries(live, key) }));
        return { data: { times: timesOf(live), total: trafficSeries(live, 'total'), agents } };
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/mappings/{protocol}/{port}/history',
      summary: 'The last hour of a mapping, every ten seconds',
      role: 'read',
      style: 'resource',
      params: schemas.mappingPath,
      answer: { status: 200, description: 'The oldest first; null where there was nothing.', schema: schemas.mappingHistory },
      refusals: ['NOT_FOUND'],
      handle: ({ params }) => {
        const key = mappingKey(params);
        if (keeper.find(params.protocol, params.port) === undefined) throw new Refusal('NOT_FOUND', `There is no mapping ${key}.`);
        return { data: { times: timesOf(live), ...trafficSeries(live, key) } };
      },
    }),
  ];
}

function timesOf(live: LiveFeed): string[] {
  return live.history.times().map((time) => new Date(time).toISOString());
}

function trafficSeries(live: LiveFeed, key: string) {
  const { connections = [], rateIn = [], rateOut = [] } = live.history.read(key) ?? {};
  return { connections, rate_in: rateIn, rate_out: rateOut };
}

function agentSeries(live: LiveFeed, key: string) {
  const { rtt = [], loss = [], connections = [] } = live.history.read(key) ?? {};
  return { rtt_ms: rtt, loss, connections };
}

const AGENT = 'agent/';
