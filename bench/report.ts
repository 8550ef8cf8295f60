import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { LOADS } from './iperf.ts';

/** One measurement: a contender under one load in one round. */
export interface Measurement {
  readonly contender: string;
  readonly load: string;
  readonly megabytesPerSecond: number;
  /** CPU seconds of the contender's processes per 10⁹ bytes; NaN for direct TCP, which has none. */
  readonly cpuSecondsPerGigabyte: number;
}

export interface Conditions {
  readonly rounds: number;
  readonly seconds: number;
  readonly skipped: readonly string[];
}

/** The measurements as Markdown: a median and the range of the rounds in each cell. */
export function report(measurements: readonly Measurement[], { rounds, seconds, skipped }: Conditions): string {
  const contenders = [...new Set(measurements.map(({ contender }) => contender))];
  const head = ['MB/s', ...LOADS.map(({ name }) => name), 'CPU s/GB'];
  const rows = contenders.map((contender) =>
    row(
      contender,
      measurements.filter((one) => one.contender === contender),
    ),
  );
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  const notes = skipped.map((reason) => `Not measured: ${reason}.`);
  const how = `iperf3 over loopback, ${seconds} s each, median of ${rounds} rounds (lowest–highest); 1 MB = 10⁶ bytes. ${machine()}`;
  return [...lines, '', how, ...notes, ''].join('\n');
}

function row(contender: string, own: readonly Measurement[]): string[] {
  const speeds = LOADS.map(({ name }) => own.filter(({ load }) => load === name).map((one) => one.megabytesPerSecond));
  const cpu = own.map((one) => one.cpuSecondsPerGigabyte);
  return [contender, ...speeds.map((values) => cell(values, 0)), cell(cpu, 1)];
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function cell(values: readonly number[], digits: number): string {
  const known = values.filter((value) => !Number.isNaN(value));
  if (known.length === 0) return '–';
  const text = (value: number) => value.toFixed(digits);
  return `${text(median(known))} (${text(Math.min(...known))}–${text(Math.max(...known))})`;
}

function machine(): string {
  const processors = cpus();
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
  return `${processors.length} × ${processors[0]?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release().split('-')[0]}, Node ${process.version}, commit ${commit}.`;
}
