import { Program } from '../../test/support/process.ts';
import type { Host } from '../site.ts';

/**
 * Runs a load generator on a host to its end and returns its output.
 * @throws Error with the end of its output when it fails or takes too long.
 */
export async function runLoad(host: Host, command: string, args: readonly string[], seconds: number): Promise<string> {
  const program = new Program(command, args, { prefix: host.prefix });
  try {
    const { code, signal } = await program.end((seconds + GRACE_SECONDS) * 1000);
    if (code !== 0) throw new Error(`${command}: ${program.lines.at(-1) ?? 'no output'} (${signal ?? code})`);
  } finally {
    await program.kill();
  }
  return program.output;
}

const GRACE_SECONDS = 30;
