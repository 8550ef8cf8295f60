import os from 'node:os';

/**
 * Calls `onChange` when this machine has got or lost an address, and returns what ends that. Node has no event for it, so there is a look each second (0.1 ms), one
 * for all who ask. Does not keep the process alive.
 */
export function watchAddresses(onChange: () => void): () => void {
  if (listeners.size === 0) begin();
  listeners.add(onChange);
  return () => {
    listeners.delete(onChange);
    if (listeners.size === 0) clearInterval(timer);
  };
}

function begin(): void {
  let known = addresses() ?? '';
  timer = setInterval(() => {
    const present = addresses() ?? known;
    if (present === known) return;
    known = present;
    for (const listener of listeners) listener();
  }, LOOK_INTERVAL).unref();
}

/** All of them, in one line. Interfaces that are down, or without a carrier, are not among them. Null when the system does not tell: it takes a descriptor. */
function addresses(): string | null {
  const all = interfaces();
  if (all === null) return null;
  const lines = Object.entries(all).map(([name, list]) => `${name} ${list?.map(({ cidr }) => cidr).join(' ')}`);
  return lines.toSorted().join(', ');
}

function interfaces(): ReturnType<typeof os.networkInterfaces> | null {
  try {
    return os.networkInterfaces();
  } catch {
    return null;
  }
}

const listeners = new Set<() => void>();
let timer: NodeJS.Timeout | undefined;
/** Milliseconds. */
const LOOK_INTERVAL = 1_000;
