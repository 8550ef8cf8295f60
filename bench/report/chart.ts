import { BarChart, LineChart } from 'echarts/charts.js';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components.js';
import { init, use } from 'echarts/core.js';
import { SVGRenderer } from 'echarts/renderers.js';
import { cellOf, rowsOf, summarize } from '../figures.ts';
import type { Sample } from '../figures.ts';
import type { Chart } from '../suite.ts';

use([BarChart, LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

/** The medians as an SVG picture: bars in groups, or lines where the chart says what the columns stand for. */
export function drawChart(chart: Chart, suite: string, samples: readonly Sample[]): string {
  const rows = rowsOf(samples, suite).filter((row) =>
    chart.columns.some((column) => valueOf(samples, suite, row, column) !== null),
  );
  const options = chart.over === undefined ? bars(chart, suite, rows, samples) : lines(chart, chart.over, suite, rows, samples);
  const bottom = chart.over === undefined ? rows.length * (8 + BAR * chart.columns.length) : LINES_HEIGHT;
  return drawPicture(chart.title, bottom, options);
}

/** An SVG picture of ECharts' options, with a title above them; so high without what stands above and below the axes. */
export function drawPicture(title: string, height: number, options: object): string {
  const picture = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: height + TOP + FOOT });
  try {
    picture.setOption({
      animation: false,
      color: COLORS,
      backgroundColor: '#fff',
      title: { text: title, left: 8, top: 6, textStyle: { fontSize: 15 } },
      ...options,
    });
    return picture.renderToSVGString();
  } finally {
    picture.dispose();
  }
}

/** Lines over a linear axis, a name and points for each. */
export function drawLines(
  title: string,
  axes: { x: string; y: string },
  series: ReadonlyMap<string, readonly (readonly [number, number])[]>,
): string {
  return drawPicture(title, LINES_HEIGHT, {
    legend: { orient: 'vertical', right: 8, top: TOP, data: [...series.keys()] },
    grid: { left: 70, right: 190, top: TOP, bottom: FOOT },
    xAxis: { type: 'value', name: axes.x, nameLocation: 'middle', nameGap: 26 },
    yAxis: { type: 'value', name: axes.y, min: 0 },
    series: [...series].map(([name, data]) => ({ type: 'line', name, data, showSymbol: false, lineStyle: { width: 1.5 } })),
  });
}

function bars({ columns, axis }: Chart, suite: string, rows: readonly string[], samples: readonly Sample[]): object {
  return {
    legend: { show: columns.length > 1, top: 30, data: columns },
    grid: { left: 130, right: 60, top: TOP, bottom: FOOT },
    xAxis: { type: 'value', name: axis, nameLocation: 'middle', nameGap: 26 },
    yAxis: { type: 'category', data: rows, inverse: true, axisTick: { show: false } },
    series: columns.map((column) => ({
      type: 'bar',
      name: column,
      data: rows.map((row) => rounded(valueOf(samples, suite, row, column))),
      label: { show: true, position: 'right', fontSize: 10 },
    })),
  };
}

function lines(
  { columns, axis }: Chart,
  { axis: below, at }: NonNullable<Chart['over']>,
  suite: string,
  rows: readonly string[],
  samples: readonly Sample[],
): object {
  return {
    legend: { orient: 'vertical', right: 8, top: TOP, data: rows },
    grid: { left: 70, right: 190, top: TOP, bottom: FOOT },
    xAxis: { type: 'log', name: below, nameLocation: 'middle', nameGap: 26, min: at[0], max: at.at(-1) },
    yAxis: { type: 'value', name: axis },
    series: rows.map((row) => ({
      type: 'line',
      name: row,
      data: at.map((x, index) => [x, rounded(valueOf(samples, suite, row, columns[index]!))]),
      lineStyle: { width: row.startsWith('qtunnel') ? 4 : 1.5 },
    })),
  };
}

function valueOf(samples: readonly Sample[], suite: string, row: string, column: string): number | null {
  return summarize(cellOf(samples, suite, row, column))?.median ?? null;
}

/** To three digits: more is noise, and clutter beside a bar. */
function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(3));
}

/** Enough for all contenders, easy to tell apart. */
const COLORS = [
  '#4269d0',
  '#ff725c',
  '#3ca951',
  '#efb118',
  '#6cc5b0',
  '#a463f2',
  '#97bbf5',
  '#9c6b4e',
  '#9498a0',
  '#d33682',
  '#222222',
  '#7a8b00',
];
const WIDTH = 880;
const LINES_HEIGHT = 320;
const BAR = 16;
const TOP = 60;
const FOOT = 44;
