/** What of a JSON Schema the API's document uses. `x-expected` is in words what belongs there. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly examples?: readonly unknown[];
  readonly 'x-expected'?: string;
}

export interface OpenApiDocument {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** The rules of the API for what it is sent, from the OpenAPI document that it serves. */
export class Rules {
  readonly #schemas: Readonly<Record<string, Schema>>;

  constructor(document: OpenApiDocument) {
    this.#schemas = document.components.schemas;
  }

  /**
   * What is wrong with an object of the schema of this name: for each field (`port`, `allow_ips.0`) what is expected there.
   * @param needed fields that have to be there, besides those that the schema requires.
   */
  problems(name: string, input: Readonly<Record<string, unknown>>, needed: readonly string[] = []): Map<string, string> {
    const { properties = {}, required = [] } = this.#resolve({ $ref: `#/components/schemas/${name}` });
    const problems = new Map<string, string>();
    for (const [field, schema] of Object.entries(properties)) {
      const value = input[field];
      if (value === undefined && !required.includes(field) && !needed.includes(field)) continue;
      const wrong = this.#wrong(schema, value);
      if (wrong !== null) problems.set([field, ...wrong.path].join('.'), `expected ${wrong.expected}`);
    }
    return problems;
  }

  #wrong(given: Schema, value: unknown): Wrong | null {
    const schema = this.#resolve(given);
    if (schema.anyOf !== undefined) {
      const all = schema.anyOf.map((one) => this.#wrong(one, value));
      if (all.includes(null)) return null;
      return { path: [], expected: schema['x-expected'] ?? all[0]?.expected ?? SOMETHING };
    }
    const wrong = { path: [], expected: schema['x-expected'] ?? SOMETHING };
    if (!fits(schema, value)) return wrong;
    if (!Array.isArray(value) || schema.items === undefined) return null;
    if (value.length > (schema.maxItems ?? Infinity)) return wrong;
    for (const [index, item] of value.entries()) {
      const inside = this.#wrong(schema.items, item);
      if (inside !== null) return { ...inside, path: [String(index), ...inside.path] };
    }
    return null;
  }

  #resolve(schema: Schema): Schema {
    if (schema.$ref === undefined) return schema;
    const { $ref, ...rest } = schema;
    return { ...this.#resolve(this.#schemas[$ref.split('/').at(-1) ?? ''] ?? {}), ...rest };
  }
}

interface Wrong {
  readonly path: readonly string[];
  readonly expected: string;
}

function fits(schema: Schema, value: unknown): boolean {
  const { type, enum: values, minimum = -Infinity, maximum = Infinity, minLength = 0, maxLength = Infinity, pattern } = schema;
  if (type !== undefined && ![type].flat().some((one) => isOfType(value, one))) return false;
  if (values !== undefined && !values.includes(value)) return false;
  if (typeof value === 'number') return value >= minimum && value <= maximum;
  if (typeof value !== 'string') return true;
  return value.length >= minLength && value.length <= maxLength && (pattern === undefined || new RegExp(pattern, 'u').test(value));
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'null') return value === null;
  return typeof value === type;
}

const SOMETHING = 'something else';
