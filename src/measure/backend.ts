import { once } from 'node:events';
import net from 'node:net';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { adoptSocket } from '../tunnel/socket-reader.ts';
import { ByteInput, collect } from './bytes.ts';
import { type Grounds, serveSession } from './session.ts';
import { isProof, newNonce, PROOF_LENGTH } from './wire.ts';

/** What a far end's server has for a backend. */
export interface Backend {
  /** On 127.0.0.1. */
  readonly port: number;
  /** The port for plain TCP; null when there is none. */
  readonly directPort: number | null;
  close(): void;
}

/**
 * Starts what a bench is made against. It listens on loopback, behind a tunnel's server, and on `direct` for those who prove that they
 * have come through the tunnel as well.
 * @throws QtunnelError `LISTEN_FAILED`
 */
export async function startBackend(direct: Address | null): Promise<Backend> {
  const keys = new Set<string>();
  const outside = direct === null ? null : await listen(direct, (socket) => guardSession(socket, grounds));
  const grounds: Grounds = { keys, directPort: outside === null ? null : portOf(outside) };
  const inside = await listen({ host: '127.0.0.1', port: 0 }, (socket) => serveSession(socket, new ByteInput(socket), grounds));
  const close = (): void => {
    inside.close();
    outside?.close();
  };
  return { port: portOf(inside), directPort: grounds.directPort, close };
}

/** Lets on only who knows a key. What a stranger can have is a nonce, and a few seconds. */
function guardSession(socket: net.Socket, grounds: Grounds): void {
  const nonce = newNonce();
  const deadline = setTimeout(() => socket.destroy(), PATIENCE_MS);
  strangers.add(socket);
  const known = (): void => {
    clearTimeout(deadline);
    strangers.delete(socket);
  };
  socket.on('close', known);
  if (strangers.size > MOST_STRANGERS) return void socket.destroy();
  socket.write(nonce);
  const input = new ByteInput(socket);
  input.give(
    collect(PROOF_LENGTH, (proof, rest) => {
      if (!isProof(proof, grounds.keys, nonce)) return void socket.destroy();
      known();
      serveSession(socket, input, grounds, rest);
    }),
  );
}

async function listen(address: Address, onConnection: (socket: net.Socket) => void): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    adoptSocket(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  try {
    server.listen({ port: address.port, ...(address.host !== '' && { host: address.host }), backlog: BACKLOG });
    await once(server, 'listening');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
    throw new QtunnelError('LISTEN_FAILED', `Cannot listen on TCP ${formatAddress(address)} (${why}); choose another -direct.`, {
      cause,
    });
  }
  return server.on('error', () => {});
}

function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port;
}

/** Who has not proven anything yet. */
const strangers = new Set<net.Socket>();
const MOST_STRANGERS = 256;
const PATIENCE_MS = 10_000;
const BACKLOG = 1024;
