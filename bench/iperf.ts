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

/** The backend of all contenders: an iperf3 server, which takes one test at a time. */
export class IperfServer {
  readonly port: number;
  readonly #program: Program;
  #tests = 0;

  private constructor(port: number) {
    this.port = port;
    this.#program = new Program('iperf3', ['-s', '-p', `${port}`, '--forceflush'], {});
  }

  static async start(): Promise<IperfServer> {
    const server = new IperfServer(await freePort());
    await server.#idle();
    return server;
  }

  /**
   * Runs a test through `port`, once the one before has ended at the server too.
   * @throws Error with iperf3's own message when the transfer failed.
   */
  async transfer(port: number, load: Load, seconds: number): Promise<Transfer> {
    await this.#idle();
    this.#tests++;
    return await runClient(port, load, seconds);
  }

  async stop(): Promise<void> {
    await this.#program.kill();
  }

  /** The server says that it listens at its start and after each test. */
  async #idle(): Promise<void> {
    const { lines } = this.#program;
    await this.#program.waitFor('an idle iperf3 server', () =>
      lines.filter((line) => line.startsWith('Server listening')).length > this.#tests ? true : undefined,
    );
  }
}

async function runClient(port: number, { streams, down }: Load, seconds: number): Promise<Transfer> {
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
