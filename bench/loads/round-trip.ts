import { Program } from '../../test/support/process.ts';
import type { Owner } from '../../test/support/process.ts';
import { freePort } from '../../test/support/tcp.ts';
import type { Target } from '../contender.ts';
import { listening } from '../listening.ts';
import { bindAddress } from '../site.ts';
import type { Host } from '../site.ts';
import { runLoad } from './client.ts';

/** Starts what answers `roundTrip`, and returns its port. */
export async function startEcho(owner: Owner, host: Host): Promise<number> {
  const port = await freePort();
  const echo = new Program('sockperf', ['server', '--tcp', '-i', bindAddress(host), '-p', `${port}`], { prefix: host.prefix });
  owner.teardown(() => echo.kill());
  await listening(echo, port);
  return port;
}

/** Microseconds from sending 64 bytes to having 64 bytes back, one at a time on one connection. */
export async function roundTrip(host: Host, { host: address, port }: Target, seconds: number): Promise<RoundTrip> {
  const args = ['ping-pong', '--tcp', '-i', address, '-p', `${port}`, '-m', '64', '-t', `${seconds}`, '--full-rtt'];
  return readSockperf(await runLoad(host, 'sockperf', args, seconds));
}

export interface RoundTrip {
  readonly p50: number;
  readonly p99: number;
}

/** @throws Error when there is no figure in it. */
export function readSockperf(report: string): RoundTrip {
  const percentile = (which: string) => {
    const value = new RegExp(`percentile ${which} =\\s+([\\d.]+)`).exec(report)?.[1];
    if (value === undefined) throw new Error(`sockperf: ${report.split('\n').at(-1) || 'no result'}`);
    return Number(value);
  };
  return { p50: percentile('50\\.000'), p99: percentile('99\\.000') };
}
