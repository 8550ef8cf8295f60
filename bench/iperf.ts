import { Program } from '../test/support/process.ts';
import { freePort } from '../test/support/tcp.ts';

/** One way of sending: so many streams, up (from the client to the backend) or down. */
export interface Load {
  readonly name: string;
  readonly streams: number;
  readonly down: boolean;
}

export const LOADS: readonly Load[] = [
  { name: '1 up', streams: 1, down: false },
  { name: '10 up', streams: 10, down: false },
  { name: '1 down', streams: 1, down: true },
  { name: '10 down', streams: 10, down: true },
];

export interface Transfer {
  /** What the receiver got. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
}

/** The backend of all contenders: an iperf3 server. */
export async function startIperfServer(): Promise<{ port: number; stop: () => Promise<void> }> {
  const port = await freePort();
  const server = new Program('iperf3', ['-s', '-p', `${port}`, '--forceflush'], {});
  await server.line(/Server listening/);
  return { port, stop: async () => void (await server.kill()) };
}

/** @throws Error with iperf3's own message when the transfer failed. */
export async function transfer(port: number, { streams, down }: Load, seconds: number): Promise<Transfer> {
  const args = ['-J', '-c', '127.0.0.1', '-p', `${port}`, '-P', `${streams}`, '-t', `${seconds}`, ...(down ? ['-R'] : [])];
  const iperf = new Program('iperf3', args, {});
  try {
    await iperf.end((seconds + GRACE_SECONDS) * 1000);
  } finally {
    await iperf.kill();
  }
  const report = JSON.parse(iperf.output) as Report;
  if (report.error !== undefined || !report.end.sum_received) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  const { bytes, bits_per_second: bits } = report.end.sum_received;
  return { bytes, bytesPerSecond: bits / 8 };
}

interface Report {
  readonly error?: string;
  readonly end: { readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number } };
}

const GRACE_SECONDS = 30;
