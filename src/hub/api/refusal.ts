import { type ErrorCode, QtunnelError } from '../../errors.ts';

/**
 * Why a request is not answered as it was meant. Thrown on the way of a request and answered by the server; it leaves the API only as that
 * answer. docs/HUB-API.md has a line for each code.
 */
export class Refusal extends Error {
  readonly code: RefusalCode;
  readonly fields: readonly FieldProblem[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RefusalCode, message: string, { fields = [], headers = {} }: RefusalDetails = {}) {
    super(message);
    this.name = 'Refusal';
    this.code = code;
    this.fields = fields;
    this.headers = headers;
  }

  get status(): number {
    return STATUS[this.code];
  }
}

export interface RefusalDetails {
  readonly fields?: readonly FieldProblem[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** One field of a request that does not fit. */
export interface FieldProblem {
  /** As in the request: `port`, `allow_ips.0`; empty for the body as a whole. */
  readonly field: string;
  /** `expected a port from 1 to 65535, got 0` */
  readonly message: string;
}

/** What a thrown thing is to the one who asked; what nobody foresaw is `INTERNAL`, and says nothing of what happened. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof QtunnelError && isKnown(error.code)) {
    const field = ABOUT[error.code];
    const fields = field === undefined ? [] : [{ field, message: error.message }];
    const headers: Record<string, string> = error.code === 'DATABASE_FAILED' ? { 'retry-after': '5' } : {};
    return new Refusal(error.code, error.code === 'DATABASE_FAILED' ? DATABASE : error.message, { fields, headers });
  }
  const { statusCode, code } = error as { statusCode?: unknown; code?: unknown };
  const known = OF_FRAMEWORK[String(code)] ?? (statusCode === 400 ? OF_BAD_REQUEST : undefined);
  return known === undefined ? new Refusal('INTERNAL', INTERNAL) : new Refusal(...known);
}

function isKnown(code: ErrorCode): code is ErrorCode & RefusalCode {
  return code in STATUS;
}

/** Every code and its HTTP status. */
export const STATUS = {
  JSON_INVALID: 400,
  REQUEST_INVALID: 400,
  INPUT_INVALID: 422,
  PORT_OUTSIDE: 422,
  MAPPING_LOOPS: 422,
  TOKEN_MISSING: 401,
  TOKEN_UNKNOWN: 401,
  ROLE_INSUFFICIENT: 403,
  ADDRESS_REFUSED: 403,
  HOST_REFUSED: 403,
  ORIGIN_REFUSED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  PORT_TAKEN: 409,
  LISTEN_FAILED: 409,
  TOKEN_NEEDED: 409,
  TOO_LARGE: 413,
  MEDIA_TYPE: 415,
  TOO_MANY: 429,
  INTERNAL: 500,
  DATABASE_FAILED: 503,
  SHUTTING_DOWN: 503,
} as const;

export type RefusalCode = keyof typeof STATUS;

/** The field of a request that an error is about. */
const ABOUT: Readonly<Partial<Record<ErrorCode, string>>> = {
  PORT_OUTSIDE: 'port',
  PORT_TAKEN: 'port',
  LISTEN_FAILED: 'port',
  MAPPING_LOOPS: 'target',
};
const INTERNAL = "Something unexpected happened; the hub's log says what.";
/** What the database says may name hosts and files. */
const DATABASE = "The database failed and nothing was changed; the hub's log says why.";
const MEDIA_TYPE = ['MEDIA_TYPE', 'The body has to be JSON: send "content-type: application/json".'] as const;
const OF_BAD_REQUEST = ['JSON_INVALID', 'The body is not valid JSON.'] as const;
const OF_FRAMEWORK: Readonly<Record<string, readonly [RefusalCode, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: MEDIA_TYPE,
  FST_ERR_CTP_BODY_TOO_LARGE: ['TOO_LARGE', 'The body has more than 64 KiB.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['JSON_INVALID', 'The body is empty: expected a JSON object.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['REQUEST_INVALID', 'The body is not as long as its content-length says.'],
  FST_ERR_MAX_PARAM_LENGTH: ['REQUEST_INVALID', 'The path is too long.'],
  FST_ERR_BAD_URL: ['REQUEST_INVALID', 'The path is not a valid URL.'],
};
