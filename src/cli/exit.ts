import { writeSync } from 'node:fs';
import { QtunnelError } from '../errors.ts';
import { plainText } from '../observe/plain-text.ts';

/** What the process exits with; `-help` has the same list. */
export const EXIT = { OK: 0, FAILED: 1, USAGE: 2 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export function exitCodeFor(error: unknown): ExitCode {
  return error instanceof QtunnelError && WRONG_INPUT.has(error.code) ? EXIT.USAGE : EXIT.FAILED;
}

/** The sentence for standard error; with the stack and the causes below it when `debug` is set. */
export function errorText(error: unknown, debug: boolean): string {
  const message = error instanceof Error ? error.message : String(error);
  const known = error instanceof QtunnelError;
  const line = `qtunnel: ${known ? '' : 'internal error: '}${plainText(message.replaceAll(/\s*\n\s*/g, ' '))}${debug || known ? '' : ' (-log-level=debug shows where)'}\n`;
  return debug && error instanceof Error ? `${line}${stackOf(error)}\n` : line;
}

/** Writes to standard error, synchronously: the process may end right after it. */
export function printError(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody reads standard error; the exit code says it too.
  }
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

const WRONG_INPUT = new Set(['USAGE', 'CONFIG_INVALID']);
