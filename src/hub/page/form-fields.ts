import { setText } from './dom.ts';

/** By the name of the field, or of a part of it (`allow_ips.0`): what is wrong with it. An empty name is the form as a whole. */
export type Problems = ReadonlyMap<string, string>;

/**
 * The fields of a form and what is said below each: a problem goes away as soon as it is solved, and comes when the typing pauses, the field is
 * left, or the form is sent. `NAME-problem` is the id of the place for the problem of the field with the id `NAME`.
 */
export class FormFields {
  readonly #form: HTMLFormElement;
  readonly #check: () => Problems;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Fields that somebody has been at. */
  readonly #seen = new Set<string>();

  constructor(form: HTMLFormElement, check: () => Problems) {
    this.#form = form;
    this.#check = check;
    const look = (event: Event): void => {
      if (!(event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement)) return;
      this.#seen.add(event.target.name);
      this.#showSolved();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#show(this.#check(), this.#seen), event.type === 'input' ? PAUSE_MS : 0);
    };
    form.addEventListener('input', look);
    form.addEventListener('change', look);
  }

  /** Trimmed; undefined for an empty one. */
  text(name: string): string | undefined {
    const text = this.#field(name)?.value.trim() ?? '';
    return text === '' ? undefined : text;
  }

  /** Whether everything fits; otherwise says what does not, and goes to the first such field. */
  accept(): boolean {
    return this.refuse(this.#check());
  }

  /** As `accept`, with these problems. */
  refuse(problems: Problems): boolean {
    clearTimeout(this.#timer);
    const shown = this.#show(problems, null);
    shown?.focus();
    return problems.size === 0;
  }

  reset(): void {
    clearTimeout(this.#timer);
    this.#seen.clear();
    this.#form.reset();
    this.#show(new Map(), null);
  }

  /** @param only of these fields; null for all. @returns the first field with a problem */
  #show(problems: Problems, only: ReadonlySet<string> | null): HTMLElement | null {
    let first: HTMLElement | null = null;
    const placed = new Set<string>();
    for (const field of this.#form.elements) {
      if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement)) continue;
      const [key, problem] = [...problems].find(([name]) => name.split('.')[0] === field.name) ?? [];
      if (key !== undefined) placed.add(key);
      if (only !== null && !only.has(field.name)) continue;
      this.#say(field, problem ?? '');
      if (problem !== undefined) first ??= field;
    }
    const rest = [...problems].filter(([name]) => !placed.has(name)).map(([, problem]) => problem);
    if (only === null) setText(this.#form.querySelector(`#${this.#form.id}-problem`) ?? this.#form, rest.join('; '));
    return first;
  }

  #showSolved(): void {
    const problems = this.#check();
    for (const name of this.#seen) {
      const field = this.#field(name);
      if (field !== null && ![...problems.keys()].some((key) => key.split('.')[0] === name)) this.#say(field, '');
    }
  }

  #say(field: HTMLElement, problem: string): void {
    const place = this.#form.querySelector(`#${field.id}-problem`);
    if (place !== null) setText(place, problem);
    if (problem === '') field.removeAttribute('aria-invalid');
    else field.setAttribute('aria-invalid', 'true');
  }

  #field(name: string): HTMLInputElement | HTMLSelectElement | null {
    const found = this.#form.elements.namedItem(name);
    return found instanceof HTMLInputElement || found instanceof HTMLSelectElement ? found : null;
  }
}

const PAUSE_MS = 400;
