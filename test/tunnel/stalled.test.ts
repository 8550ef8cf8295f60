import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { dial, listen, receive, receiveAll } from '../support/tcp.ts';
import { client, linkUp, MODES, server } from './tunnels.ts';

const MIB = 1024 * 1024;
const here = (port: number) => ({ host: '127.0.0.1', port });

for (const { name, ...mode } of MODES) {
  void test(`${name}: 100 readers that do not read neither hurt a fresh connection nor take more memory than their bound`, async (t) => {
    const stalled = 100;
    const backend = await listen(t, (socket) => void greetAndPour(socket));
    const far = await server(t, { ...mode, backend: here(backend), buffer: BUFFER });
    const near = await client(t, far.tunnel, { ...mode, buffer: BUFFER });
    await linkUp(near);
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    const readers = await Promise.all(Array.from({ length: stalled }, () => dial(t, near.port)));
    for (const reader of readers) reader.write('pour');
    await eventually(
      'nothing to move any more',
      stillness(() => near.metrics.received + far.metrics.sent),
    );
    const grown = process.memoryUsage().rss - before;
    t.ok(near.metrics.received < stalled * POURED, 'not all has been taken');
    t.ok(grown < stalled * BOUND, `${Math.round(grown / MIB)} MiB`);
    const fresh = await dial(t, near.port);
    fresh.write('echo');
    t.equal((await receive(fresh, 4)).toString(), 'echo');
    const words = randomBytes(MIB);
    fresh.end(words);
    t.ok((await receiveAll(fresh)).equals(words));
    for (const reader of readers) reader.resetAndDestroy();
    await eventually('no connections', () => near.tunnel.connections === 0 && far.tunnel.connections === 0);
  });
}

/** Does what it is told: echoes, or sends for ever to whoever reads. */
async function greetAndPour(socket: Socket): Promise<void> {
  try {
    const word = (await receive(socket, 4)).toString();
    if (word === 'echo') {
      socket.write(word);
      return void socket.pipe(socket);
    }
    const block = Buffer.alloc(64 * 1024);
    let left = POURED;
    const pour = (): void => {
      while (left > 0 && !socket.destroyed) {
        left -= block.length;
        if (!socket.write(block)) return void socket.once('drain', pour);
      }
    };
    pour();
  } catch {
    // The test ended the connection.
  }
}

/** True when the number has not moved for some looks one after the other. */
function stillness(look: () => number): () => boolean {
  let last = -1;
  let same = 0;
  return () => {
    const now = look();
    same = now === last && now > 0 ? same + 1 : 0;
    last = now;
    return same >= 20;
  };
}

const BUFFER = 256 * 1024;
/** What each of them would get. */
const POURED = 64 * MIB;
/**
 * Bytes of memory for one reader that does not read, both sides of the tunnel and the test's own ends in this process: 256 KiB of credit at the client and
 * as much at the server that waits for an acknowledgement, a chunk towards each TCP socket (256 and 64 KiB), the test's two buffers of 64 KiB.
 */
const BOUND = 1.25 * MIB;
