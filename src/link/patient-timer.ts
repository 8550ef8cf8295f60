import { LISTEN, MOST_LISTENING, wasHeldUp } from '../protocol/held-up.ts';

export interface PatientTimer {
  cancel(): void;
}

/**
 * Calls `fire` after `delay` milliseconds in which somebody was to say something. When this process was held up meanwhile, what he has said is read first (protocol/held-up.ts): a `cancel` that comes of it
 * is in time.
 */
export function setPatientTimer(fire: () => void, delay: number): PatientTimer {
  let handle: NodeJS.Timeout;
  let left = MOST_LISTENING;
  const wait = (milliseconds: number): void => {
    const due = performance.now() + milliseconds;
    handle = setTimeout(() => {
      if (left-- > 0 && wasHeldUp(performance.now(), due)) wait(LISTEN);
      else fire();
    }, milliseconds);
  };
  wait(delay);
  return { cancel: () => clearTimeout(handle) };
}
