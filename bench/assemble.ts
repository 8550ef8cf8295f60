import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Program } from '../test/support/process.ts';
import type { RunningContender } from './contender.ts';

/** What a contender is made of while it runs. */
export interface Parts {
  /** A folder of its own for configuration and state. */
  readonly folder: string;
  /** Takes a process into what is measured, and stopped in the end. */
  add<P extends Program>(program: P): P;
}

/**
 * Starts a contender by `build`, which adds its processes and returns the port to connect to. They are stopped and the folder is removed
 * by `stop`, or at once when `build` fails.
 */
export async function assemble(build: (parts: Parts) => Promise<number>): Promise<RunningContender> {
  const folder = mkdtempSync(join(tmpdir(), 'qtunnel-bench-'));
  const programs: Program[] = [];
  const add = <P extends Program>(program: P): P => {
    programs.push(program);
    return program;
  };
  const stop = async () => {
    await Promise.all(programs.map((program) => program.kill()));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const port = await build({ folder, add });
    return { port, pids: programs.map(({ pid }) => pid), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
