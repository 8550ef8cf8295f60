import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { blocks } from './data.mjs';

/**
 * A TCP service for the demo; the first byte of a connection says what it is to do: `e` echo, `u` take everything and answer with its
 * SHA-256, `d` and a number of megabytes: send so many, then FIN.
 */
export async function startBackend() {
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.once('readable', () => serve(socket).catch(() => socket.destroy()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    name: 'backend',
    port: server.address().port,
    log: () => '(it runs in the demo itself)',
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function serve(socket) {
  const task = socket.read(1)?.toString();
  if (task === 'e') return socket.pipe(socket);
  if (task === 'u') return take(socket);
  if (task === 'd') return give(socket);
  return socket.destroy();
}

async function take(socket) {
  const hash = createHash('sha256');
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) hash.update(chunk);
  socket.end(hash.digest());
}

async function give(socket) {
  const megabytes = socket.read(1)?.readUInt8() ?? 0;
  for (const block of blocks(megabytes)) if (!socket.write(block)) await once(socket, 'drain');
  socket.end();
}
