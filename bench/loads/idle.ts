import { Program } from '../../test/support/process.ts';
import type { Owner } from '../../test/support/process.ts';
import { freePort } from '../../test/support/tcp.ts';
import type { Target } from '../contender.ts';
import { listening } from '../listening.ts';
import { programFile } from '../programs/path.ts';
import type { Host } from '../site.ts';

/** Starts what answers `Idlers`, and returns its port. */
export async function serveIdle(owner: Owner, host: Host): Promise<number> {
  const port = await freePort();
  const server = new Program(process.execPath, [programFile('idle'), 'serve', `${port}`], { prefix: host.prefix });
  owner.teardown(() => server.kill());
  await listening(server, port);
  return port;
}

/** A client that holds connections. */
export class Idlers {
  readonly #program: Program;

  constructor(owner: Owner, host: Host, { host: address, port }: Target) {
    this.#program = new Program(process.execPath, [programFile('idle'), 'hold', address, `${port}`], { prefix: host.prefix });
    owner.teardown(() => this.#program.kill());
  }

  /** Resolves when so many are open and answered. */
  async hold(count: number): Promise<void> {
    this.#program.child.stdin!.write(`${count}\n`);
    const done = () => (this.#program.lines.includes(`${count}`) ? true : undefined);
    await this.#program.waitFor(`${count} connections`, done, OPENING_MS).catch(() => {
      const complaint = this.#program.lines.findLast((line) => !/^\d+$/.test(line));
      throw new Error(complaint ?? `${count} connections were not open within ${OPENING_MS / 1000} s`);
    });
  }
}

const OPENING_MS = 60_000;
