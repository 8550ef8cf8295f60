import { makeLogger } from '../../../src/observe/log.ts';

/** A log whose lines are kept for the test. */
export function keptLog() {
  const lines: Record<string, unknown>[] = [];
  const log = makeLogger('debug', { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  return { log, lines, events: () => lines.map(({ event }) => event) };
}
