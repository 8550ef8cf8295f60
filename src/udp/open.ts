import { batchUdp } from './batch.ts';
import { openDgram } from './dgram.ts';
import type { OpenUdp } from './socket.ts';

/** Opens UDP sockets in the fastest way that this machine has. */
export const openUdp: OpenUdp = batchUdp() ?? openDgram;
