import { make, makeSvg, setText } from './dom.ts';
import { durationText, niceCeiling } from './format.ts';

export interface Line {
  readonly name: string;
  /** One for each time; null where there was nothing. */
  readonly values: readonly (number | null)[];
}

export interface ChartOptions {
  /** What it shows, for who does not see it. */
  readonly label: string;
  readonly text: (value: number) => string;
}

/** Lines over the last hour, read with the pointer or the arrow keys. */
export class Chart {
  readonly element: HTMLElement;
  readonly #options: ChartOptions;
  readonly #svg = makeSvg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  readonly #most = make('span', { class: 'axis most' });
  readonly #half = make('span', { class: 'axis half' });
  readonly #readout = make('output', { class: 'readout', 'aria-live': 'polite' });
  #times: readonly number[] = [];
  #lines: readonly Line[] = [];
  /** Which sample is read; null for none. */
  #cursor: number | null = null;

  constructor(options: ChartOptions) {
    this.#options = options;
    const plot = make('div', {
      class: 'plot',
      tabindex: '0',
      role: 'group',
      'aria-label': `${options.label}; left and right read it`,
    });
    plot.append(this.#svg, this.#most, this.#half);
    const ends = make(
      'div',
      { class: 'ends', 'aria-hidden': 'true' },
      ...['1 h ago', '30 min', 'now'].map((text) => make('span', {}, text)),
    );
    this.element = make('div', { class: 'chart' }, this.#readout, plot, ends);
    plot.addEventListener('pointermove', (event) => {
      const { left, width } = plot.getBoundingClientRect();
      this.#read(this.#nearest((event.clientX - left) / width));
    });
    plot.addEventListener('pointerleave', () => this.#read(null));
    plot.addEventListener('blur', () => this.#read(null));
    plot.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const last = this.#times.length - 1;
      this.#read(Math.max(0, Math.min(last, (this.#cursor ?? last + (step < 0 ? 1 : 0)) + step)));
    });
  }

  /** @param times of the samples in milliseconds since 1970, the oldest first. */
  draw(times: readonly number[], lines: readonly Line[]): void {
    this.#times = times;
    this.#lines = lines;
    this.#paint();
  }

  #paint(): void {
    const most = niceCeiling(Math.max(0, ...this.#lines.flatMap(({ values }) => values.map((value) => value ?? 0))));
    const now = this.#times.at(-1) ?? 0;
    const points = (values: Line['values']) =>
      values.map((value, index) => (value === null ? null : ([x(this.#times[index] ?? now, now), y(value, most)] as const)));
    this.#svg.replaceChildren(
      ...[0, 0.5, 1].map((share) =>
        makeSvg('line', { class: 'grid', x1: '0', x2: `${WIDTH}`, y1: `${y(share, 1)}`, y2: `${y(share, 1)}` }),
      ),
      ...this.#lines.flatMap(({ values }, index) => [
        makeSvg('path', { class: `area series-${index}`, d: areaOf(points(values)) }),
        makeSvg('path', { class: `line series-${index}`, d: lineOf(points(values)) }),
      ]),
    );
    const at = this.#cursor === null ? undefined : this.#times[this.#cursor];
    if (at !== undefined)
      this.#svg.append(makeSvg('line', { class: 'cursor', x1: `${x(at, now)}`, x2: `${x(at, now)}`, y1: '0', y2: `${HEIGHT}` }));
    setText(this.#most, this.#options.text(most));
    setText(this.#half, this.#options.text(most / 2));
    this.#say(now);
  }

  /** The names of the lines with their values where it is read, or at the end. */
  #say(now: number): void {
    const index = this.#cursor ?? this.#times.length - 1;
    const at = this.#times[index];
    const ago = at === undefined || this.#cursor === null ? '' : at === now ? 'now' : `${durationText(now - at)} ago`;
    const said = this.#lines.map(({ name, values }, line) => {
      const value = values[index] ?? null;
      return make('span', { class: `key series-${line}` }, `${name} ${value === null ? '–' : this.#options.text(value)}`);
    });
    // What is read out is what somebody reads, not each new sample.
    this.#readout.setAttribute('aria-live', this.#cursor === null ? 'off' : 'polite');
    this.#readout.replaceChildren(
      ...said,
      make('span', { class: 'quiet' }, this.#times.length === 0 ? 'The first sample comes after ten seconds.' : ago),
    );
  }

  #read(cursor: number | null): void {
    if (cursor === this.#cursor || (cursor !== null && this.#times.length === 0)) return;
    this.#cursor = cursor;
    this.#paint();
  }

  #nearest(share: number): number | null {
    const now = this.#times.at(-1);
    if (now === undefined) return null;
    const wanted = now - (1 - share) * SPAN_MS;
    return this.#times.reduce(
      (best, time, index) => (Math.abs(time - wanted) < Math.abs((this.#times[best] ?? 0) - wanted) ? index : best),
      0,
    );
  }
}

/** A small line without axes, for a row; `values` the oldest first. */
export class Spark {
  readonly element: SVGElement;
  readonly #paths: readonly SVGElement[];

  constructor(lines: number) {
    this.#paths = Array.from({ length: lines }, (_, index) => makeSvg('path', { class: `line series-${index}` }));
    this.element = makeSvg(
      'svg',
      { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      ...this.#paths,
    );
  }

  /** @param length how many values the whole width has. */
  draw(lines: readonly (readonly (number | null)[])[], length: number): void {
    const most = Math.max(1e-9, ...lines.flatMap((values) => values.map((value) => value ?? 0)));
    for (const [index, values] of lines.entries()) {
      const points = values.map((value, place) =>
        value === null ? null : ([(WIDTH * (place + length - values.length)) / (length - 1), y(value, most)] as const),
      );
      this.#paths[index]?.setAttribute('d', lineOf(points));
    }
  }
}

type Point = readonly [number, number] | null;

function x(time: number, now: number): number {
  return round(WIDTH * (1 - (now - time) / SPAN_MS));
}

/** With room for the line's own width above and below. */
function y(value: number, most: number): number {
  return round(HEIGHT - MARGIN - (value / most) * (HEIGHT - 2 * MARGIN));
}

function lineOf(points: readonly Point[]): string {
  return points.map((point, index) => (point === null ? '' : `${points[index - 1] ? 'L' : 'M'}${point[0]} ${point[1]}`)).join('');
}

/** Down to the ground at both ends of each part without a gap. */
function areaOf(points: readonly Point[]): string {
  return points
    .map((point, index) => {
      if (point === null) return '';
      const begin = points[index - 1] ? 'L' : `M${point[0]} ${HEIGHT - MARGIN}L`;
      const end = points[index + 1] ? '' : `L${point[0]} ${HEIGHT - MARGIN}Z`;
      return `${begin}${point[0]} ${point[1]}${end}`;
    })
    .join('');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

const WIDTH = 720;
const HEIGHT = 160;
const MARGIN = 2;
const SPAN_MS = 3_600_000;
