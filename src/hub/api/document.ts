import { z } from 'zod';
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import { VERSION } from '../../version.ts';
import type { Endpoint } from './endpoint.ts';
import { type RefusalCode, STATUS } from './refusal.ts';
import { envelope, failure, problem } from './schemas.ts';

/** The OpenAPI 3.1 document of these endpoints, made from the same schemas that check their requests. */
export function describe(endpoints: readonly Endpoint[]): object {
  const paths: ZodOpenApiPathsObject = {};
  for (const one of endpoints) {
    paths[one.path] = { ...paths[one.path], [one.method.toLowerCase()]: operation(one) };
  }
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'qtunnel hub',
      version: VERSION,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: TOKEN } } },
  });
}

function operation(one: Endpoint): ZodOpenApiOperationObject {
  const { params, query, body } = one;
  return {
    operationId: operationId(one),
    summary: one.summary,
    ...(one.role === null ? { security: [] } : { security: [{ token: [] }], description: `Role: ${one.role}.` }),
    ...((params !== undefined || query !== undefined) && {
      requestParams: { ...(params instanceof z.ZodObject && { path: params }), ...(query instanceof z.ZodObject && { query }) },
    }),
    ...(body !== undefined && { requestBody: { required: true, content: { [JSON_TYPE]: { schema: body } } } }),
    responses: { ...success(one), ...refusals(one) },
  };
}

function success({ answer, style }: Endpoint): ZodOpenApiResponsesObject {
  const { status, description, schema, type = JSON_TYPE } = answer;
  const shown = schema !== undefined && style === 'envelope' ? envelope(schema) : schema;
  return { [`${status}`]: { description, ...(shown !== undefined && { content: { [type]: { schema: shown } } }) } };
}

/** One answer for each status, which says its codes. */
function refusals(one: Endpoint): ZodOpenApiResponsesObject {
  const codes = [...codesOf(one)].toSorted((a, b) => STATUS[a] - STATUS[b]);
  const content = one.style === 'envelope' ? { [JSON_TYPE]: { schema: failure } } : { [PROBLEM_TYPE]: { schema: problem } };
  const statuses = [...new Set(codes.map((code) => STATUS[code]))];
  return Object.fromEntries(
    statuses.map((status) => [`${status}`, { description: codes.filter((code) => STATUS[code] === status).join(', '), content }]),
  );
}

/** Why a request of this endpoint may be refused. */
function codesOf({ role, params, query, body, refusals: own = [] }: Endpoint): Set<RefusalCode> {
  return new Set<RefusalCode>([
    ...EVERYWHERE,
    ...(role === null ? [] : OF_TOKENS),
    ...(role === 'manage' ? (['ROLE_INSUFFICIENT'] as const) : []),
    ...(params !== undefined || query !== undefined || body !== undefined ? (['INPUT_INVALID'] as const) : []),
    ...(body === undefined ? [] : OF_BODIES),
    ...own,
  ]);
}

/** `GET /api/v1/mappings/{protocol}/{port}` → `getApiV1MappingsProtocolPort` */
function operationId({ method, path }: Endpoint): string {
  const words = path.match(/[a-z0-9]+/gi) ?? [];
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

export const JSON_TYPE = 'application/json';
/** RFC 9457. */
export const PROBLEM_TYPE = 'application/problem+json';
const EVERYWHERE = ['REQUEST_INVALID', 'ADDRESS_REFUSED', 'HOST_REFUSED', 'ORIGIN_REFUSED', 'TOO_MANY', 'INTERNAL'] as const;
const OF_TOKENS = ['TOKEN_MISSING', 'TOKEN_UNKNOWN'] as const;
const OF_BODIES = ['JSON_INVALID', 'TOO_LARGE', 'MEDIA_TYPE'] as const;
const DESCRIPTION = 'Public ports of a hub and where they lead. docs/HUB-API.md says what each error code means.';
const TOKEN = 'Needed as soon as there is one. Made by POST /api/v1/tokens or `qtunnel token create`.';
