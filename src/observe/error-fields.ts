import { QtunnelError } from '../errors.ts';

/** What the log says of an error: code and message, why it came about, and where when `debug` is set. */
export function serializeError(error: unknown, debug: boolean): unknown {
  if (!(error instanceof Error)) return error;
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    ...(code === undefined ? {} : { code }),
    message: error.message,
    ...(causesOf(error).length === 0 ? {} : { cause: causesOf(error) }),
    ...(debug || !isExpected(error) ? { stack: error.stack } : {}),
  };
}

/** The messages of the causes, from the nearest to the first. */
function causesOf(error: Error): string {
  const messages: string[] = [];
  for (let cause = error.cause; cause instanceof Error && messages.length < MOST_CAUSES; cause = cause.cause)
    messages.push(cause.message);
  return messages.join('; ');
}

/** A mistake of the program's own is worth its stack at any level. */
function isExpected(error: Error): boolean {
  return (error instanceof QtunnelError && error.code !== 'INTERNAL') || 'syscall' in error;
}

const MOST_CAUSES = 5;
