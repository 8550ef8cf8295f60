import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { Schema } from '../../../src/hub/page/rules.ts';
import type { Reply } from './api.ts';

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema: Schema;
  }[];
  readonly body: Schema | undefined;
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>>;
}

/** An OpenAPI document, to be held against a server. */
export class Document {
  readonly operations: readonly Operation[];
  readonly #document: Raw;
  readonly #ajv: Ajv2020;
  readonly #validators = new Map<string, ValidateFunction>();

  constructor(document: unknown) {
    this.#document = document as Raw;
    this.#ajv = new Ajv2020({ strict: false, allErrors: true });
    (addFormats as unknown as typeof addFormats.default)(this.#ajv);
    this.#ajv.addSchema({ ...this.#document, $id: BASE });
    this.operations = Object.entries(this.#document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, one]) => ({
        method: method.toUpperCase(),
        path,
        parameters: one.parameters ?? [],
        body: one.requestBody?.content['application/json']?.schema,
        responses: one.responses,
      })),
    );
  }

  resolve(schema: Schema): Schema {
    if (schema.$ref === undefined) return schema;
    const name = schema.$ref.split('/').at(-1)!;
    return this.resolve(this.#document.components.schemas[name]!);
  }

  /** What is not as the document says of this operation's answer; null when all is. */
  judge({ method, path, responses }: Operation, { status, headers, body, text }: Reply): string | null {
    const documented = responses[`${status}`];
    if (documented === undefined) return `the status ${status} is not in the document`;
    const [type] = String(headers['content-type'] ?? '').split(';');
    if (documented.content === undefined) return text === '' ? null : 'a body that is not in the document';
    const content = documented.content[type!];
    if (content === undefined) return `the content type ${type} is not in the document`;
    const pointer = ['paths', path, method.toLowerCase(), 'responses', `${status}`, 'content', type!, 'schema']
      .map(escape)
      .join('/');
    const validate = this.#validators.get(pointer) ?? this.#ajv.compile({ $ref: `${BASE}#/${pointer}` });
    this.#validators.set(pointer, validate);
    return validate(body) ? null : this.#ajv.errorsText(validate.errors);
  }
}

interface Raw {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly parameters?: Operation['parameters'];
            readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
            readonly responses: Operation['responses'];
          }
        >
      >
    >
  >;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

function escape(step: string): string {
  return encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'));
}

const BASE = 'https://hub.example/openapi.json';
