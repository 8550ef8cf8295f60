import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import type { Role } from '../store/store.ts';
import type { Admitted } from './guard.ts';
import type { RefusalCode } from './refusal.ts';

/** One method of one path: what checks and answers it, and what the OpenAPI document says of it. */
export interface Endpoint<Params = unknown, Query = unknown, Body = unknown> {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** As OpenAPI writes it: `/api/v1/tokens/{id}`. */
  readonly path: string;
  readonly summary: string;
  /** What the bearer of a token has to be; null for anybody. */
  readonly role: Role | null;
  /** `resource` answers with the thing itself and problems of RFC 9457, `envelope` with `{success, message, data}`. */
  readonly style: 'resource' | 'envelope';
  readonly params?: z.ZodType<Params>;
  readonly query?: z.ZodType<Query>;
  readonly body?: z.ZodType<Body>;
  readonly answer: {
    readonly status: 200 | 201 | 204;
    readonly description: string;
    /** Left out for an answer without a body. */
    readonly schema?: z.ZodType;
    /** `application/json` when left out. */
    readonly type?: string;
  };
  /** What else it may be refused for, besides what every request may be. */
  readonly refusals?: readonly RefusalCode[];
  /** Throws Refusal or QtunnelError. */
  handle(call: Call<Params, Query, Body>): Promise<Answer> | Answer;
}

export interface Call<Params = unknown, Query = unknown, Body = unknown> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly author: Admitted;
  /** For one that writes its answer itself, after `hijack()`. */
  readonly reply: FastifyReply;
}

export interface Answer {
  readonly data?: unknown;
  /** For an envelope. */
  readonly message?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Keeps the types of its schemas for `handle`, and forgets them outside. */
export function endpoint<Params, Query, Body>(one: Endpoint<Params, Query, Body>): Endpoint {
  return one as unknown as Endpoint;
}
