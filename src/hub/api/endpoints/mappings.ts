import { z } from 'zod';
import { type Mapping, mappingKey } from '../../mapping.ts';
import type { MappingReport } from '../../mapping-keeper.ts';
import type { Author } from '../../store/store.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import type { ApiParts } from '../parts.ts';
import { Refusal } from '../refusal.ts';
import * as schemas from '../schemas.ts';
import { clientView, mappingView } from '../views.ts';
import { changedMapping, mappingFrom } from '../wish.ts';

/** Mappings, as resources and in the shape of `/api/mapping/…`. */
export function mappingEndpoints({ keeper, ledger, store, tunnelEnabled }: ApiParts): Endpoint[] {
  const view = (report: MappingReport) => mappingView(report, ledger);
  const list = () => keeper.list().map(view);
  const create = async (body: schemas.MappingInput, author: Author) =>
    view(await keeper.create(mappingFrom(body, tunnelEnabled), author));
  const find = ({ protocol, port }: Identity): MappingReport => {
    const report = keeper.find(protocol, port);
    if (report === undefined) throw unknown({ protocol, port });
    return report;
  };
  const remove = async ({ protocol, port }: Identity, author: Author): Promise<MappingReport> => {
    const removed = await keeper.remove(protocol, port, author);
    if (removed === null) throw unknown({ protocol, port });
    return removed;
  };
  return [
    endpoint({
      ...CREATE,
      path: '/api/mapping/create',
      style: 'envelope',
      handle: async ({ body, author }) => {
        const data = await create(body, author);
        return { data, message: `${data.protocol}/${data.port} leads to ${data.target}` };
      },
    }),
    endpoint({
      ...REMOVE,
      method: 'POST',
      path: '/api/mapping/remove',
      style: 'envelope',
      body: schemas.mappingName,
      answer: { status: 200, description: 'What it was.', schema: schemas.mapping },
      handle: async ({ body: { protocol = 'tcp', port }, author }) => {
        const removed = await remove({ protocol, port }, author);
        return { data: view(removed), message: `${protocol}/${port} is gone` };
      },
    }),
    endpoint({
      ...LIST,
      path: '/api/mapping/list',
      style: 'envelope',
      answer: { ...IN_ORDER, schema: z.array(schemas.mapping) },
      handle: () => {
        const data = list();
        return { data, message: `${data.length} mapping${data.length === 1 ? '' : 's'}` };
      },
    }),
    endpoint({
      ...LIST,
      path: '/api/v1/mappings',
      style: 'resource',
      answer: { ...IN_ORDER, schema: z.object({ mappings: z.array(schemas.mapping) }) },
      handle: () => ({ data: { mappings: list() } }),
    }),
    endpoint({
      ...CREATE,
      path: '/api/v1/mappings',
      style: 'resource',
      handle: async ({ body, author }) => {
        const data = await create(body, author);
        return { data, headers: { location: `/api/v1/mappings/${data.protocol}/${data.port}` } };
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/mappings/{protocol}/{port}',
      summary: 'One mapping',
      role: 'read',
      style: 'resource',
      params: schemas.mappingPath,
      answer: { status: 200, description: 'The mapping.', schema: schemas.mapping },
      refusals: ['NOT_FOUND'],
      handle: ({ params }) => ({ data: view(find(params)) }),
    }),
    endpoint({
      method: 'PATCH',
      path: '/api/v1/mappings/{protocol}/{port}',
      summary: 'Changes a mapping; what is left out stays as it is',
      role: 'manage',
      style: 'resource',
      params: schemas.mappingPath,
      body: schemas.mappingChange,
      answer: { status: 200, description: 'What it is now.', schema: schemas.mapping },
      refusals: ['NOT_FOUND', 'PORT_TAKEN', 'MAPPING_LOOPS', 'DATABASE_FAILED', 'SHUTTING_DOWN'],
      handle: async ({ params, body, author }) => {
        const changed = await keeper.update(params.protocol, params.port, (mapping) => changedMapping(mapping, body), author);
        if (changed === null) throw unknown(params);
        return { data: view(changed) };
      },
    }),
    endpoint({
      ...REMOVE,
      method: 'DELETE',
      path: '/api/v1/mappings/{protocol}/{port}',
      style: 'resource',
      params: schemas.mappingPath,
      answer: { status: 204, description: 'It is gone.' },
      handle: async ({ params, author }) => {
        await remove(params, author);
        return {};
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/mappings/{protocol}/{port}/clients',
      summary: "A mapping's clients and what each has carried",
      role: 'read',
      style: 'resource',
      params: schemas.mappingPath,
      query: schemas.page.pick({ limit: true }),
      answer: {
        status: 200,
        description: 'Those with the most bytes first; some seconds old.',
        schema: z.object({ clients: z.array(schemas.clientTraffic) }),
      },
      refusals: ['NOT_FOUND', 'DATABASE_FAILED'],
      handle: async ({ params, query: { limit } }) => {
        const { mapping } = find(params);
        return { data: { clients: (await store.traffic(mapping, limit)).map(clientView) } };
      },
    }),
  ];
}

type Identity = Pick<Mapping, 'protocol' | 'port'>;

function unknown(identity: Identity): Refusal {
  const message = `There is no mapping ${mappingKey(identity)}.`;
  return new Refusal('NOT_FOUND', message, { fields: [{ field: 'port', message }] });
}

/* What is the same in both styles. */

const CREATE = {
  method: 'POST',
  summary: 'Makes a mapping',
  role: 'manage',
  body: schemas.mappingInput,
  answer: { status: 201, description: 'It listens.', schema: schemas.mapping },
  refusals: ['PORT_OUTSIDE', 'PORT_TAKEN', 'LISTEN_FAILED', 'MAPPING_LOOPS', 'DATABASE_FAILED', 'SHUTTING_DOWN'],
} as const;
const REMOVE = {
  summary: 'Removes a mapping and cuts its connections off',
  role: 'manage',
  refusals: ['NOT_FOUND', 'PORT_TAKEN', 'DATABASE_FAILED', 'SHUTTING_DOWN'],
} as const;
const LIST = { method: 'GET', summary: 'All mappings', role: 'read' } as const;
const IN_ORDER = { status: 200, description: 'In the order of protocol and port.' } as const;
