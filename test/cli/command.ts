import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { type Exit, Program } from '../support/process.ts';

/** The program that was compiled beside this test. */
export const BIN = fileURLToPath(new URL('../../src/bin/qtunnel.js', import.meta.url));

export interface Result extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command to its end, as a user would. */
export async function qtunnel(
  t: Test,
  words: readonly string[],
  env: Record<string, string> = {},
  { cwd, deadline }: { readonly cwd?: string; readonly deadline?: number } = {},
): Promise<Result> {
  const program = new Program(process.execPath, [BIN, ...words], { env, ...(cwd === undefined ? {} : { cwd }) });
  t.teardown(() => program.kill());
  const output = { stdout: '', stderr: '' };
  program.child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  program.child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  program.child.stdin?.end();
  const exit = await program.end(deadline);
  return { ...exit, ...output };
}
