import { Spark } from './chart.ts';
import { button, byId, make, Rows, setText, type Row } from './dom.ts';
import { countText, rateText } from './format.ts';
import { keyOf, type RecentRates } from './recent-rates.ts';
import type { Mapping, Moment, MovingMapping } from './types.ts';

export interface MappingsTableOptions {
  readonly recent: RecentRates;
  open(mapping: Mapping): void;
  remove(mapping: Mapping): void;
}

/** The mappings, with what each carries now. */
export class MappingsTable {
  readonly #rows: Rows<Shown>;

  constructor(options: MappingsTableOptions) {
    const body = byId('mappings', HTMLTableElement).tBodies[0]!;
    this.#rows = new Rows(body, (item) => mappingRow(item, options));
  }

  /** @param canChange whether somebody may remove them */
  show(mappings: readonly Mapping[], moment: Moment | null, canChange: boolean): void {
    const moving = new Map(moment?.mappings.map((one) => [keyOf(one), one]));
    this.#rows.show(
      new Map(mappings.map((mapping) => [keyOf(mapping), { mapping, moving: moving.get(keyOf(mapping)), canChange }])),
    );
    byId('no-mappings', HTMLElement).hidden = mappings.length > 0;
    byId('mappings', HTMLElement).hidden = mappings.length === 0;
  }
}

interface Shown {
  readonly mapping: Mapping;
  readonly moving: MovingMapping | undefined;
  readonly canChange: boolean;
}

function mappingRow(first: Shown, { recent, open, remove }: MappingsTableOptions): Row<Shown> {
  let { mapping } = first;
  const key = keyOf(mapping);
  const spark = new Spark(2);
  const [target, note] = [make('span'), make('span', { class: 'note-text' })];
  const [state, problem] = [make('span', { class: 'badge' }), make('span', { class: 'note-text' })];
  const [connections, rateIn, rateOut] = [number('Open'), number('In'), number('Out')];
  const removal = button('Remove', () => remove(mapping), { class: 'small', 'aria-label': `Remove ${key}` });
  const element = make(
    'tr',
    { 'data-key': key },
    make(
      'td',
      { class: 'port' },
      button(key, () => open(mapping), { class: 'link', 'aria-label': `${key}, details` }),
    ),
    make('td', { class: 'target' }, target, note),
    make('td', { class: 'condition' }, state, problem),
    connections,
    rateIn,
    rateOut,
    make('td', { class: 'recent', 'data-label': 'Last minute' }, spark.element),
    make('td', { class: 'action' }, removal),
  );
  return {
    element,
    update({ mapping: latest, moving, canChange }) {
      mapping = latest;
      const { ready, problem: why, connections: open_ } = moving ?? mapping;
      setText(target, `${mapping.target} ${throughOf(mapping)}`);
      setText(note, mapping.note);
      setText(state, ready ? 'ready' : 'not ready');
      state.classList.toggle('bad', !ready);
      setText(problem, ready ? '' : (why ?? ''));
      setText(connections, countText(open_));
      setText(rateIn, rateText(moving?.rate_in ?? 0));
      setText(rateOut, rateText(moving?.rate_out ?? 0));
      spark.draw(recent.of(key), recent.length);
      removal.hidden = !canChange || mapping.origin === 'agent';
    },
  };
}

/** `through any agent` */
export function throughOf({ via, agent }: Mapping): string {
  if (via === 'direct') return 'from the hub itself';
  return agent === null ? 'through any agent' : `through ${agent}`;
}

function number(label: string): HTMLTableCellElement {
  return make('td', { class: 'number', 'data-label': label });
}
