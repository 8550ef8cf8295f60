import { loadSocketCalls } from '../../src/ports/socket-calls.ts';

/** For tests of several workers, which need what only Linux with koffi has. */
export const onLinux = { skip: loadSocketCalls() === null && 'no shared sockets here: not Linux, or koffi is not installed' };
