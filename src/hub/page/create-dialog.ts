import { announce, byId, make } from './dom.ts';
import { FormFields, type Problems } from './form-fields.ts';
import { HubProblem, saidOf, type HubApi } from './hub-api.ts';
import { keyOf } from './recent-rates.ts';
import type { Rules } from './rules.ts';
import type { Agent, Mapping, Stats } from './types.ts';

export interface CreateDialogOptions {
  readonly api: HubApi;
  /** Null until the document is there. */
  rules(): Rules | null;
  mappings(): readonly Mapping[];
  agents(): readonly Agent[];
  /** Null until the hub has said what it is. */
  stats(): Stats | null;
  created(mapping: Mapping): void;
}

/** The form for a new mapping, which checks what is typed by the rules of the API's own document. */
export class CreateDialog {
  readonly #options: CreateDialogOptions;
  readonly #dialog = byId('create', HTMLDialogElement);
  readonly #form = byId('create-form', HTMLFormElement);
  readonly #via = byId('create-via', HTMLSelectElement);
  readonly #fields: FormFields;
  #sending = false;

  constructor(options: CreateDialogOptions) {
    this.#options = options;
    this.#fields = new FormFields(this.#form, () => this.#problems());
    this.#via.addEventListener('change', () => this.#follow());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#send();
    });
  }

  open(): void {
    this.#fields.reset();
    const { tunnel_enabled: takesAgents = true, port_range: range } = this.#options.stats() ?? {};
    this.#via.value = takesAgents ? 'agent' : 'direct';
    this.#via.disabled = !takesAgents;
    byId('create-port', HTMLInputElement).placeholder = range === undefined ? '' : `${range.from} to ${range.end}`;
    byId('agent-names', HTMLDataListElement).replaceChildren(
      ...this.#options.agents().map(({ name }) => make('option', { value: name })),
    );
    this.#follow();
    this.#dialog.showModal();
  }

  /** The hub dials without an agent. */
  #follow(): void {
    byId('create-agent', HTMLInputElement).disabled = this.#via.value === 'direct';
  }

  async #send(): Promise<void> {
    if (this.#sending || !this.#fields.accept()) return;
    this.#sending = true;
    try {
      const mapping = await this.#options.api.call<Mapping>('POST', '/api/v1/mappings', this.#input());
      this.#dialog.close();
      this.#options.created(mapping);
      announce(`${keyOf(mapping)} leads to ${mapping.target}`);
    } catch (error) {
      const fields = error instanceof HubProblem ? error.fields : [];
      this.#fields.refuse(
        fields.length > 0 ? new Map(fields.map(({ field, message }) => [field, message])) : new Map([['', saidOf(error)]]),
      );
    } finally {
      this.#sending = false;
    }
  }

  #input(): Record<string, unknown> {
    const text = (name: string) => this.#fields.text(name);
    const [via, networks] = [this.#via.value, text('allow_ips')];
    const input = {
      port: numberIn(text('port')),
      protocol: text('protocol'),
      target: text('target'),
      via,
      agent: via === 'agent' ? text('agent') : undefined,
      allow_ips: networks?.split(/[\s,]+/).filter((network) => network !== ''),
      bandwidth: numberIn(text('bandwidth')),
      note: text('note'),
    };
    return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  }

  #problems(): Problems {
    const input = this.#input();
    const problems = new Map(this.#options.rules()?.problems('MappingInput', input, ['target']));
    for (const [field, problem] of problems) {
      const [list, index] = field.split('.');
      if (index !== undefined) problems.set(field, `${problem}, got ${JSON.stringify((input[list!] as unknown[])[Number(index)])}`);
    }
    const { port } = input;
    const range = this.#options.stats()?.port_range;
    if (typeof port === 'number' && range !== undefined && !problems.has('port') && (port < range.from || port > range.end))
      problems.set('port', `expected one of this hub's ports, ${range.from} to ${range.end}`);
    const taken = this.#options.mappings().find((one) => one.protocol === input['protocol'] && one.port === port);
    if (taken !== undefined) problems.set('port', `${keyOf(taken)} leads to ${taken.target} already`);
    return problems;
  }
}

/** What is no number stays as it is: the rules say what is wrong with it. */
function numberIn(text: string | undefined): number | string | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}
