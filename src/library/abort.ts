import { QtunnelError } from '../errors.ts';

/** Why a signal that has fired ended something. */
export function abortError(signal: AbortSignal): QtunnelError {
  const reason: unknown = signal.reason;
  if (reason instanceof QtunnelError) return reason;
  return new QtunnelError('ABORTED', 'The AbortSignal that was given fired.', { cause: reason });
}

/** @throws QtunnelError why, when one of the signals has fired. */
export function throwIfAborted(signals: readonly (AbortSignal | undefined)[]): void {
  const fired = signals.find((signal) => signal?.aborted === true);
  if (fired !== undefined) throw abortError(fired);
}

/** Calls `abort` once when one of the signals fires, at once if one has. Returns what makes the signals forget it. */
export function onAbort(signals: readonly (AbortSignal | undefined)[], abort: (reason: QtunnelError) => void): () => void {
  const fired = signals.find((signal) => signal?.aborted === true);
  if (fired !== undefined) {
    abort(abortError(fired));
    return () => {};
  }
  const forget = (): void => signals.forEach((signal) => signal?.removeEventListener('abort', handle));
  const handle = (event: Event): void => {
    forget();
    abort(abortError(event.target as AbortSignal));
  };
  signals.forEach((signal) => signal?.addEventListener('abort', handle));
  return forget;
}
