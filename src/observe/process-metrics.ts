import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/**
 * Adds the process's own metrics, unless they are there: CPU, memory, descriptors, garbage collection, and how late the event loop is.
 */
export function addProcessMetrics(registry: Registry): void {
  if (registry.getSingleMetric(EVENT_LOOP_LAG)) return;
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: PROM_CLIENT_RESOLUTION_MS });
  addEventLoopLag(registry);
}

/** Adds how often a supervised process was started again. */
export function addRestarts(registry: Registry, restarts: number): void {
  const counter = new Counter({
    name: 'qtunnel_restarts_total',
    help: 'Times that the supervisor has started the process again because it died or hung.',
    registers: [registry],
  });
  counter.inc(restarts);
}

/** Adds the memory that the process may have, in bytes. */
export function addMaxMemory(registry: Registry, cap: number): void {
  const gauge = new Gauge({
    name: 'qtunnel_max_memory_bytes',
    help: 'Resident memory that the process may have; new connections are refused near it.',
    registers: [registry],
  });
  gauge.set(cap);
}

/**
 * prom-client's own gauges of the event loop count the measuring interval as lag, so that an idle process shows 10 ms; here it is
 * taken off.
 */
function addEventLoopLag(registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const lag = new Gauge({
    name: EVENT_LOOP_LAG,
    help: 'How late the event loop was since the last scrape: the median, the 99th percentile, the largest.',
    labelNames: ['quantile'],
    registers: [],
    collect() {
      for (const quantile of QUANTILES) this.set({ quantile }, lagSeconds(delay.percentile(quantile * 100)));
      delay.reset();
    },
  });
  registry.registerMetric(lag);
}

function lagSeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1e3);
}

const EVENT_LOOP_LAG = 'qtunnel_event_loop_lag_seconds';
const RESOLUTION_MS = 10;
const PROM_CLIENT_RESOLUTION_MS = 1000;
const QUANTILES = [0.5, 0.99, 1];
