import { Program } from '../../test/support/process.ts';
import type { Owner } from '../../test/support/process.ts';
import { freePort } from '../../test/support/tcp.ts';
import type { Target } from '../contender.ts';
import { bindAddress } from '../site.ts';
import type { Host, TcpCongestion } from '../site.ts';

/** One way of sending: so many streams, up (from the client to the backend) or down. */
export interface Load {
  readonly name: string;
  readonly streams: number;
  readonly down: boolean;
}

export interface Transfer {
  /** What the receiver got. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
}

export interface TransferOptions {
  /** Chooses TCP's congestion control for iperf3's own sockets. */
  readonly tcpCongestion?: TcpCongestion;
}

/** An iperf3 server, which takes one test at a time. */
export class IperfServer {
  readonly port: number;
  readonly #program: Program;

  private constructor(owner: Owner, host: Host, port: number) {
    this.port = port;
    this.#program = new Program('iperf3', ['-s', '-B', bindAddress(host), '-p', `${port}`, '--forceflush'], {
      prefix: host.prefix,
    });
    owner.teardown(() => this.#program.kill());
  }

  static async start(owner: Owner, host: Host): Promise<IperfServer> {
    const server = new IperfServer(owner, host, await freePort());
    await server.#idle();
    return server;
  }

  /**
   * Runs a test from `host` to `target`, once the one before has ended at the server too.
   * @throws Error with iperf3's own message when the transfer failed.
   */
  async transfer(host: Host, target: Target, load: Load, seconds: number, options: TransferOptions = {}): Promise<Transfer> {
    await this.#idle();
    return await runClient(host, target, load, seconds, options);
  }

  /** The server says that it listens at its start and after each test, and when a test has reached it. */
  async #idle(): Promise<void> {
    const isIdle = () => this.#count('Server listening') > this.#count('Accepted connection');
    await this.#program.waitFor('an idle iperf3 server', () => (isIdle() ? true : undefined));
  }

  #count(beginning: string): number {
    return this.#program.lines.filter((line) => line.startsWith(beginning)).length;
  }
}

async function runClient(host: Host, target: Target, load: Load, seconds: number, options: TransferOptions): Promise<Transfer> {
  const iperf = new Program('iperf3', clientArguments(target, load, seconds, options), { prefix: host.prefix });
  try {
    await iperf.end((seconds + GRACE_SECONDS) * 1000);
  } finally {
    await iperf.kill();
  }
  return readReport(iperf.output);
}

function clientArguments(
  { host, port }: Target,
  { streams, down }: Load,
  seconds: number,
  { tcpCongestion }: TransferOptions,
): string[] {
  const congestion = tcpCongestion === undefined ? [] : ['-C', tcpCongestion];
  return ['-J', '-c', host, '-p', `${port}`, '-P', `${streams}`, '-t', `${seconds}`, ...(down ? ['-R'] : []), ...congestion];
}

/** @throws Error with iperf3's own message when the transfer failed. */
export function readReport(json: string): Transfer {
  const report = parse(json);
  if (report.error !== undefined || !report.end?.sum_received) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  const { bytes, bits_per_second: bits } = report.end.sum_received;
  return { bytes, bytesPerSecond: bits / 8 };
}

function parse(json: string): Report {
  try {
    return JSON.parse(json) as Report;
  } catch {
    throw new Error(`iperf3: ${json.slice(0, 200) || 'no output'}`);
  }
}

interface Report {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number } };
}

const GRACE_SECONDS = 30;
