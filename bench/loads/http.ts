import { missing } from '../../test/support/programs.ts';
import type { Target } from '../contender.ts';
import type { Host } from '../site.ts';
import { runLoad } from './client.ts';
import { SMALL } from './nginx.ts';

/** Requests a second with a new connection for each, 100 at once: ab without keep-alive. */
export async function newConnections(host: Host, target: Target, seconds: number): Promise<number> {
  const limits = ['-t', `${seconds}`, '-n', '100000000', '-c', '100'];
  return readAb(await runLoad(host, 'ab', ['-q', '-l', ...limits, urlOf(target, SMALL)], seconds));
}

/** Requests a second on 64 connections that stay: wrk, or ab where there is no wrk. */
export async function keepAliveRequests(host: Host, target: Target, seconds: number): Promise<number> {
  if (missing('wrk') === false) return (await wrk(host, target, SMALL, 64, seconds)).requestsPerSecond;
  const limits = ['-t', `${seconds}`, '-n', '100000000', '-c', '64', '-k'];
  return readAb(await runLoad(host, 'ab', ['-q', '-l', ...limits, urlOf(target, SMALL)], seconds));
}

/** As many requests as go through so many connections. */
export async function wrk(host: Host, target: Target, path: string, connections: number, seconds: number): Promise<WrkResult> {
  const args = ['-t', connections === 1 ? '1' : '2', '-c', `${connections}`, '-d', `${seconds}s`, '--timeout', '20s'];
  return readWrk(await runLoad(host, 'wrk', [...args, urlOf(target, path)], seconds));
}

/** @throws Error when requests failed. */
export function readAb(report: string): number {
  const failed = Number(/^Failed requests:\s+(\d+)/m.exec(report)?.[1] ?? 0);
  const wrong = Number(/^Non-2xx responses:\s+(\d+)/m.exec(report)?.[1] ?? 0);
  const rate = /^Requests per second:\s+([\d.]+)/m.exec(report)?.[1];
  if (failed + wrong > 0) throw new Error(`ab: ${failed + wrong} requests failed`);
  if (rate === undefined) throw new Error(`ab: no result: ${report.split('\n').at(-1)}`);
  return Number(rate);
}

export interface WrkResult {
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
}

/** @throws Error when requests failed. */
export function readWrk(report: string): WrkResult {
  const errors = /^\s*(Socket errors: .*|Non-2xx or 3xx responses: .*)$/m.exec(report)?.[1];
  if (errors !== undefined) throw new Error(`wrk: ${errors}`);
  const requests = /^Requests\/sec:\s+([\d.]+)/m.exec(report)?.[1];
  const [, amount, unit = ''] = /^Transfer\/sec:\s+([\d.]+)([KMG]?)B/m.exec(report) ?? [];
  if (requests === undefined || amount === undefined) throw new Error(`wrk: no result: ${report.split('\n').at(-1)}`);
  return { requestsPerSecond: Number(requests), bytesPerSecond: Number(amount) * 1024 ** ' KMG'.indexOf(unit || ' ') };
}

function urlOf({ host, port }: Target, path: string): string {
  return `http://${host}:${port}${path}`;
}
