import { z } from 'zod';
import { type Endpoint, endpoint } from '../endpoint.ts';
import type { ApiParts } from '../parts.ts';
import { Refusal } from '../refusal.ts';
import * as schemas from '../schemas.ts';
import { auditView, tokenView } from '../views.ts';

/** Who may use the API, and who has changed what. */
export function tokenEndpoints({ tokens, store }: ApiParts): Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/api/v1/tokens',
      summary: 'The tokens of the API, without their secrets',
      role: 'manage',
      style: 'resource',
      answer: { status: 200, description: 'The oldest first.', schema: z.object({ tokens: z.array(schemas.token) }) },
      handle: () => ({ data: { tokens: tokens.list().map(tokenView) } }),
    }),
    endpoint({
      method: 'POST',
      path: '/api/v1/tokens',
      summary: 'Makes a token; with the first one every request needs one',
      role: 'manage',
      style: 'resource',
      body: schemas.tokenInput,
      answer: { status: 201, description: 'The token, which is shown this once.', schema: schemas.newToken },
      refusals: ['TOKEN_NEEDED', 'DATABASE_FAILED'],
      handle: async ({ body: { name, role }, author }) => {
        const { kept, text } = await tokens.create(name, role, author);
        return { data: { ...tokenView(kept), token: text } };
      },
    }),
    endpoint({
      method: 'DELETE',
      path: '/api/v1/tokens/{id}',
      summary: 'Removes a token',
      role: 'manage',
      style: 'resource',
      params: schemas.tokenPath,
      answer: { status: 204, description: 'It is refused from now on.' },
      refusals: ['NOT_FOUND', 'TOKEN_NEEDED', 'DATABASE_FAILED'],
      handle: async ({ params: { id }, author }) => {
        if (!(await tokens.remove(id, author))) throw new Refusal('NOT_FOUND', 'There is no token of this id.');
        return {};
      },
    }),
    endpoint({
      method: 'GET',
      path: '/api/v1/audit',
      summary: 'Who has changed what',
      role: 'manage',
      style: 'resource',
      query: schemas.auditPage,
      answer: { status: 200, description: 'The latest first.', schema: z.object({ entries: z.array(schemas.auditEntry) }) },
      refusals: ['DATABASE_FAILED'],
      handle: async ({ query: { limit, before } }) => ({ data: { entries: (await store.audit(limit, before)).map(auditView) } }),
    }),
  ];
}
