import { Program } from '../../test/support/process.ts';
import type { Owner } from '../../test/support/process.ts';
import type { Target } from '../contender.ts';
import { programFile } from '../programs/path.ts';
import type { Host } from '../site.ts';

/** Knocks at a port until it answers. */
export class Knocker {
  readonly #program: Program;

  constructor(owner: Owner, host: Host, { host: address, port }: Target) {
    this.#program = new Program(process.execPath, [programFile('first-byte'), address, `${port}`], { prefix: host.prefix });
    owner.teardown(() => this.#program.kill());
  }

  /** Begins at once; resolves with the time at which the first byte came back, in milliseconds since 1970. */
  async firstByte(): Promise<number> {
    const { lines, child } = this.#program;
    const before = lines.length;
    child.stdin!.write('\n');
    return Number(await this.#program.waitFor('the first byte', () => lines[before], PATIENCE_MS));
  }
}

const PATIENCE_MS = 60_000;
