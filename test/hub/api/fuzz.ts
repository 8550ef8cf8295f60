import type { Schema } from '../../../src/hub/page/rules.ts';
import type { Owner } from '../../support/process.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';
import { callApi, startTestApi } from '../support/api.ts';
import { Document, type Operation } from '../support/document.ts';

/**
 * Sends `count` requests that are made from the API's own OpenAPI document, many of them not quite as it wants them, and holds each answer against it.
 * @returns how often each status came.
 * @throws when an answer is not as the document says, or is a server's error (5xx): with the seed and the request.
 */
export async function fuzzApi(t: Owner, count: number, seed: number): Promise<Map<number, number>> {
  const hub = await startTestApi(t, { listening: false });
  const document = new Document((await hub.call('GET', '/api/openapi.json')).body);
  const operations = document.operations.filter(({ path }) => !path.startsWith('/api/v1/tokens') && path !== '/api/v1/events');
  const maker = new Maker(document, seededRandom(seed));
  const statuses = new Map<number, number>();
  for (let n = 0; n < count; n++) {
    const operation = maker.oneOf(operations);
    const request = maker.request(operation);
    const reply = await callApi(hub.port, operation.method, request.path, request.body, request.headers);
    statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1);
    const wrong =
      reply.status >= 500
        ? `status ${reply.status}`
        : isElsewhere(request.path, operation)
          ? null
          : document.judge(operation, reply);
    if (wrong !== null) {
      throw new Error(
        `seed ${seed}, request ${n}: ${operation.method} ${JSON.stringify(request)}: ${wrong}\n${reply.text.slice(0, 500)}`,
      );
    }
  }
  const { length } = await hub.store.mappings();
  if (length !== hub.publisher.mappings().length) throw new Error(`seed ${seed}: database and ports are not in step`);
  return statuses;
}

/** A parameter with a slash in it, or without anything, asks for another path. */
function isElsewhere(path: string, operation: Operation): boolean {
  return (path.split('?')[0] ?? '').split('/').length !== operation.path.split('/').length || /\/(\?|\/|$)/.test(path);
}

/** Makes requests: every second part of one is as its schema says, the others are near it or nonsense. */
class Maker {
  readonly #document: Document;
  readonly #random: () => number;

  constructor(document: Document, random: () => number) {
    this.#document = document;
    this.#random = random;
  }

  request({ path, parameters, body }: Operation) {
    let concrete = path;
    const query = new URLSearchParams();
    for (const { name, in: place, schema, required = false } of parameters) {
      const value = this.value(schema);
      const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
      if (place === 'path') concrete = concrete.replace(`{${name}}`, encodeURIComponent(text.slice(0, 40)));
      else if (required || this.chance(0.5)) query.append(name, text);
    }
    const search = query.size === 0 ? '' : `?${query.toString()}`;
    const text = body === undefined ? undefined : this.spoilt(JSON.stringify(this.value(body)) ?? '');
    const headers: Record<string, string> = {};
    if (text !== undefined && this.chance(0.05)) headers['content-type'] = this.oneOf(TYPES);
    if (this.chance(0.03)) headers['origin'] = 'https://evil.example';
    if (this.chance(0.03)) headers['authorization'] = this.oneOf(['Bearer x', 'Basic eDp5', 'Bearer', '\u00FF']);
    return { path: concrete + search, body: text, headers };
  }

  value(given: Schema): unknown {
    const schema = this.#document.resolve(given);
    if (this.chance(0.1)) return this.oneOf(NONSENSE);
    if (schema.examples !== undefined && this.chance(0.3)) return this.oneOf(schema.examples);
    if (schema.const !== undefined) return schema.const;
    if (schema.enum !== undefined) return this.oneOf(schema.enum);
    if (schema.anyOf !== undefined) return this.value(this.oneOf(schema.anyOf));
    const type = Array.isArray(schema.type) ? this.oneOf(schema.type as string[]) : schema.type;
    if (type === 'object') return this.#object(schema);
    if (type === 'array') return Array.from({ length: this.integer(0, 3) }, () => this.value(schema.items ?? {}));
    if (type === 'integer' || type === 'number') return this.#number(schema);
    if (type === 'string') return this.#text(schema);
    return type === 'boolean' ? this.chance(0.5) : this.oneOf(NONSENSE);
  }

  oneOf<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!;
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  integer(from: number, to: number): number {
    return integerBetween(this.#random, from, to);
  }

  /** Now and then some characters of it are others. */
  spoilt(text: string): string {
    if (!this.chance(0.1)) return text;
    const at = this.integer(0, text.length);
    return text.slice(0, at) + this.oneOf(SPOILS) + text.slice(at + this.integer(0, 3));
  }

  #object({ properties = {}, required = [] }: Schema): object {
    const entries = Object.entries(properties)
      .filter(([name]) => this.chance(required.includes(name) ? 0.97 : 0.25))
      .map(([name, schema]): [string, unknown] => [name, this.value(schema)]);
    if (this.chance(0.05)) entries.push([this.oneOf(['x', 'constructor', '', 'port ', 'toString']), 1]);
    return Object.fromEntries(entries);
  }

  #number({ minimum = -10, maximum = 1e6 }: Schema): number {
    // Few ports, so that some are mapped already.
    if (minimum === 1 && maximum === 65_535 && this.chance(0.6)) return this.integer(10_000, 10_050);
    return this.oneOf([
      minimum,
      maximum,
      minimum - 1,
      maximum + 1,
      minimum + 0.5,
      this.integer(minimum, Math.min(maximum, minimum + 1e6)),
    ]);
  }

  #text({ minLength = 0, maxLength = 300 }: Schema): string {
    const length = this.oneOf([minLength, maxLength, maxLength + 1, this.integer(minLength, Math.min(maxLength, minLength + 20))]);
    return this.chance(0.5) ? this.oneOf(WORDS) : Array.from({ length }, () => this.oneOf(CHARACTERS)).join('');
  }
}

const WORDS = ['127.0.0.1:22', '[::1]:53', 'host', 'tcp', 'udp', '10.0.0.0/8', '::/0', '10Mbit', '1e9', '-1', '10022', 'cellar'];
const CHARACTERS = [
  'a',
  'Z',
  '0',
  '.',
  ':',
  '/',
  '-',
  '[',
  ']',
  '%',
  ' ',
  '\0',
  '\n',
  '"',
  "'",
  ';',
  '<',
  'ß',
  '\u202E',
  '😀',
  '\uD800',
];
const NONSENSE = [
  null,
  true,
  0,
  -1,
  1e308,
  '',
  'x',
  [],
  {},
  [[]],
  { port: 1 },
  'a'.repeat(5_000),
  '\u0000',
  "'; drop table mappings; --",
  2 ** 53,
];
const SPOILS = ['', '{', '}', '"', ',', '\\', '\u0000', '\\uD800', '[[[[[[', 'null', '1e999'];
const TYPES = [
  'text/plain',
  'application/xml',
  'application/json; charset=utf-16',
  'application/jsonx',
  '',
  'application/json, text/plain',
];
