import { measureLatency } from './latency.ts';
import type { Path } from './paths.ts';
import { measureReliability } from './reliability.ts';
import type { Latency, PathName, Reliability, Throughput } from './results.ts';
import type { TestName, Wanted } from './settings.ts';
import { measureThroughput, type ThroughputPlan } from './throughput.ts';
import { formatMilliseconds, formatRate, formatSize } from './units.ts';

/** One measurement, which is made over each path in turn before the next begins: what disturbs the machine disturbs all alike. */
export type Step =
  | { readonly test: 'throughput' | 'sizes'; readonly plan: ThroughputPlan }
  | { readonly test: 'latency'; readonly plan: { readonly size: number; readonly seconds: number } }
  | { readonly test: 'reliability'; readonly plan: { readonly transfers: number } };

/** What a step has found over one path. */
export type Finding =
  | { readonly test: 'throughput' | 'sizes'; readonly figure: Throughput }
  | { readonly test: 'latency'; readonly figure: Latency }
  | { readonly test: 'reliability'; readonly figure: Reliability };

/** All steps, in the order of the table. */
export function planOf({ tests, seconds, connections, sizes, transfers }: Wanted): Step[] {
  const steps: Record<TestName, Step[]> = {
    throughput: DIRECTIONS.flatMap((direction) =>
      connections.map((count) => ({
        test: 'throughput',
        plan: { direction, connections: count, writeSize: BULK_WRITE, seconds },
      })),
    ),
    sizes: sizes.map((writeSize) => ({ test: 'sizes', plan: { direction: 'up', connections: 1, writeSize, seconds } })),
    latency: sizes.map((size) => ({ test: 'latency', plan: { size, seconds } })),
    reliability: [{ test: 'reliability', plan: { transfers } }],
  };
  return Object.entries(steps).flatMap(([test, some]) => (tests.has(test as TestName) ? some : []));
}

/** Seconds that a step takes over one path, about. */
export function secondsOf(step: Step): number {
  return step.test === 'reliability'
    ? Math.min(60, Math.ceil(step.plan.transfers / GUESSED_TRANSFERS_A_SECOND))
    : step.plan.seconds;
}

/** What is measured, in words. */
export function nameOf(step: Step): string {
  switch (step.test) {
    case 'throughput':
      return `${connectionsName(step.plan.connections)}, ${step.plan.direction}`;
    case 'sizes':
      return `writes of ${formatSize(step.plan.writeSize)}`;
    case 'latency':
      return `round trips of ${formatSize(step.plan.size)}`;
    case 'reliability':
      return `${step.plan.transfers} transfers`;
  }
}

export function connectionsName(count: number): string {
  return count === 1 ? '1 connection' : `${count} connections`;
}

/** Makes one measurement. @param tell is given in words how it is going. */
export async function perform(step: Step, path: Path, signal: AbortSignal, tell: (how: string) => void): Promise<Finding> {
  switch (step.test) {
    case 'throughput':
    case 'sizes': {
      const figure = await measureThroughput(path, step.plan, signal, (rate) => tell(formatRate(rate)));
      return { test: step.test, figure };
    }
    case 'latency':
      return { test: step.test, figure: await measureLatency(path, step.plan, signal, (time) => tell(formatMilliseconds(time))) };
    case 'reliability': {
      const { transfers } = step.plan;
      return {
        test: step.test,
        figure: await measureReliability(path, transfers, signal, (over) => tell(`${over} of ${transfers}`)),
      };
    }
  }
}

/** A finding in a few words, for a line of its own. */
export function summaryOf({ test, figure }: Finding): string {
  switch (test) {
    case 'throughput':
    case 'sizes':
      return `${formatRate(figure.bytesPerSecond)}${figure.failed > 0 ? `, ${connectionsName(figure.failed)} failed` : ''}`;
    case 'latency':
      return figure.roundTrip === null
        ? 'none came back'
        : `p50 ${formatMilliseconds(figure.roundTrip.p50)}, p99 ${formatMilliseconds(figure.roundTrip.p99)}`;
    case 'reliability':
      return `${figure.whole} of ${figure.transfers} whole`;
  }
}

export const TITLES: Record<PathName, string> = { quic: 'QUIC', tcp: 'TCP mode', direct: 'direct TCP' };

const DIRECTIONS = ['up', 'down'] as const;
const BULK_WRITE = 65_536;
const GUESSED_TRANSFERS_A_SECOND = 50;
