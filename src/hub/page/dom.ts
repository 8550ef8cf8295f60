/*
 * The page's elements. Text from the hub (notes, names, errors) is hostile: it gets into the page as text and as the value of attributes
 * that are only shown, never as HTML, and the page's policy lets no string become HTML at all.
 */

/** An element with attributes and children; strings are text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function makeSvg(tag: string, attributes: Readonly<Record<string, string>> = {}, ...children: readonly Node[]): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A button that does something when it is pressed. */
export function button(label: string, press: () => void, attributes: Readonly<Record<string, string>> = {}): HTMLButtonElement {
  const made = make('button', { type: 'button', ...attributes }, label);
  made.addEventListener('click', press);
  return made;
}

/** The element of index.html with this id. @throws Error when it is not of that class */
export function byId<T extends Element>(id: string, type: new () => T): T {
  const found = document.querySelector(`#${id}`);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/** Changes what is shown, unless it is shown already: what is selected or read out stays. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Says something to everybody, who listens instead of looking among them. */
export function announce(text: string): void {
  const place = byId('announcement', HTMLElement);
  setText(place, text);
  place.hidden = false;
  clearTimeout(announced);
  announced = setTimeout(() => (place.hidden = true), ANNOUNCEMENT_MS);
}

/** Rows of a table, or of a list, that stay the same elements while what they show changes: so they keep the focus. */
export class Rows<T> {
  readonly #host: HTMLElement;
  readonly #make: (item: T) => Row<T>;
  readonly #rows = new Map<string, Row<T>>();

  constructor(host: HTMLElement, makeRow: (item: T) => Row<T>) {
    this.#host = host;
    this.#make = makeRow;
  }

  /** Shows these items, by their keys, in this order. */
  show(items: ReadonlyMap<string, T>): void {
    for (const [key, { element }] of this.#rows) {
      if (items.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    let place = this.#host.firstElementChild;
    for (const [key, item] of items) {
      const row = this.#rows.get(key) ?? this.#make(item);
      this.#rows.set(key, row);
      row.update(item);
      if (row.element === place) place = place.nextElementSibling;
      else this.#host.insertBefore(row.element, place);
    }
  }
}

export interface Row<T> {
  readonly element: HTMLElement;
  update(item: T): void;
}

let announced: ReturnType<typeof setTimeout> | undefined;
const ANNOUNCEMENT_MS = 8_000;
