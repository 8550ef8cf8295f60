import { loadSocketCalls } from '../../src/workers/sockets.ts';

/** For tests of several workers, which need what only Linux with koffi has. */
export const onLinux = { skip: loadSocketCalls() === null && 'no shared sockets here: not Linux, or koffi is not installed' };
