import { z } from 'zod';
import { type Endpoint, endpoint } from '../endpoint.ts';
import type { ApiParts } from '../parts.ts';
import { liveEndpoints } from './live.ts';
import { mappingEndpoints } from './mappings.ts';
import { stateEndpoints } from './state.ts';
import { tokenEndpoints } from './tokens.ts';

/**
 * Every endpoint of the API, the one that describes them among them.
 * @param describe makes the OpenAPI document.
 */
export function endpointsOf(parts: ApiParts, describe: (endpoints: readonly Endpoint[]) => object): readonly Endpoint[] {
  const endpoints: Endpoint[] = [
    ...mappingEndpoints(parts),
    ...stateEndpoints(parts),
    ...liveEndpoints(parts),
    ...tokenEndpoints(parts),
  ];
  let document: object | null = null;
  endpoints.push(
    endpoint({
      method: 'GET',
      path: '/api/openapi.json',
      summary: 'This document',
      role: null,
      style: 'resource',
      answer: { status: 200, description: 'OpenAPI 3.1.', schema: z.looseObject({ openapi: z.string() }) },
      handle: () => ({ data: (document ??= describe(endpoints)) }),
    }),
  );
  return endpoints;
}
