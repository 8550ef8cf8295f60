import type { Socket } from 'node:net';
import { test } from 'tap';
import { resetSocket } from '../../src/tunnel/reset-socket.ts';
import { eventually } from '../support/deadline.ts';
import { dial, listen } from '../support/tcp.ts';

const BEFORE: [string, (socket: Socket) => void][] = [
  ['at once', () => {}],
  ['after a write', (socket) => socket.write('x')],
  ['with much that waits', (socket) => socket.write(Buffer.alloc(16 << 20))],
  ['after its end', (socket) => socket.end()],
  ['after a write and its end', (socket) => socket.end('x')],
  ['with much that waits, after its end', (socket) => socket.end(Buffer.alloc(16 << 20))],
];

for (const [when, prepare] of BEFORE) {
  for (const turns of [0, 1, 2]) {
    test(`a socket is reset ${when}, ${turns} turns later`, async (t) => {
      let accepted: Socket | undefined;
      const port = await listen(t, (socket) => (accepted = socket));
      const peer = await dial(t, port);
      peer.pause();
      await eventually('it to be accepted', () => accepted !== undefined);
      const socket = accepted!;
      prepare(socket);
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      resetSocket(socket);
      await eventually('it to be closed', () => socket.closed);
      // The kernel tells who writes.
      await eventually('the peer to hear of it', () => {
        if (!peer.destroyed) peer.write('x');
        return peer.destroyed;
      });
      t.match(peer.errored, { code: /^(ECONNRESET|EPIPE)$/ });
    });
  }
}
