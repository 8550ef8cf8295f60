import v8 from 'node:v8';

/**
 * Keeps V8's space for new objects as small as it begins, so call it first of all: what lives here lives for a packet or for a connection, and a larger space (up to
 * 16 MiB, twice) only costs memory (docs/PERFORMANCE.md, "Memory"). For the command, not for the library; threads that begin later have it as well.
 */
export function keepHeapSmall(): void {
  // Read each time that V8 thinks of growing the space, so it may be set while V8 runs.
  v8.setFlagsFromString('--semi-space-growth-factor=1');
}
