import type { Socket } from 'node:net';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { connectSocket } from '../tunnel/socket-reader.ts';
import { ByteInput, collect, collectLine } from './bytes.ts';
import { startChild } from './children.ts';
import type { PathName } from './results.ts';
import { type Hello, LONGEST_HELLO, NONCE_LENGTH, parseHello, proofOf, requestLine, type Service } from './wire.ts';

/** A connection to the far end that has been asked for a service. */
export interface Connection {
  readonly socket: Socket;
  /** Nobody takes its bytes yet. */
  readonly input: ByteInput;
}

export interface Path {
  readonly name: PathName;
  readonly linksLost: number;
  /** Connects. @throws Error why not, QtunnelError or Node's own. */
  connect(signal: AbortSignal): Promise<Connection>;
  close(): Promise<void>;
}

/**
 * A way through a tunnel as users have it: a client in a process of its own, and its local port. QUIC and TLS do not stand in for each other.
 * @throws QtunnelError why the link does not come up
 */
export async function tunnelPath(name: 'quic' | 'tcp', settings: TunnelSettings, signal: AbortSignal): Promise<Path> {
  const own = { ...settings, listen: { host: '127.0.0.1', port: 0 }, quic: name === 'quic', fallback: false };
  let linksLost = 0;
  const client = await startChild({ role: 'client', settings: own }, signal, ({ state }) => {
    if (state === 'down') linksLost++;
  });
  const { port } = client.ready;
  return {
    name,
    get linksLost() {
      return linksLost;
    },
    connect: (stop) => connect({ host: '127.0.0.1', port }, stop),
    close: () => client.stop(),
  };
}

/** The way past the tunnel, to the far end's direct port. */
export function directPath({ host, port }: Address, key: string): Path {
  return {
    name: 'direct',
    linksLost: 0,
    async connect(stop) {
      const { socket, input } = await connect({ host, port }, stop);
      const nonce = await answered<Uint8Array>(socket, (done) => input.give(collect(NONCE_LENGTH, done)));
      socket.write(proofOf(key, nonce));
      return { socket, input };
    },
    async close() {},
  };
}

/** Connects and asks for a service, whose first bytes may be there at once. */
export async function open(path: Path, service: Service, signal: AbortSignal): Promise<Connection> {
  const connection = await path.connect(signal);
  connection.socket.write(requestLine(service));
  return connection;
}

/**
 * Asks who is there. The connection is left open: what it tells is true as long as it is.
 * @throws QtunnelError `PROTOCOL_VIOLATION` when it is no bench.
 */
export async function sayHello(path: Path, signal: AbortSignal): Promise<{ hello: Hello; socket: Socket }> {
  try {
    const { socket, input } = await open(path, 'hello', signal);
    const line = await answered<string | null>(socket, (done) => input.give(collectLine(LONGEST_HELLO, done)));
    const hello = parseHello(line ?? '');
    if (hello !== undefined) return { hello, socket };
    socket.destroy();
  } catch (cause) {
    throw new QtunnelError('PROTOCOL_VIOLATION', `${NO_BENCH}`, { cause });
  }
  throw new QtunnelError('PROTOCOL_VIOLATION', `${NO_BENCH}`);
}

/** The first answer on a connection, or why there is none. */
async function answered<T>(socket: Socket, ask: (done: (answer: T) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    const late = setTimeout(() => socket.destroy(new Error('no answer')), ANSWER_MS);
    const closed = (): void => reject(new Error('the connection was closed'));
    socket
      .once('error', reject)
      .once('close', closed)
      .once('end', () => socket.destroy());
    ask((answer) => {
      clearTimeout(late);
      socket.off('error', reject).off('close', closed);
      resolve(answer);
    });
  });
}

/** A TCP connection, which the signal cuts off. @throws Error Node's own, `ETIMEDOUT` after 5 s. */
export async function connect(address: Address, signal: AbortSignal): Promise<Connection> {
  const socket = connectSocket({ ...address, allowHalfOpen: true, noDelay: true, signal });
  // Whoever uses it hears of its end by `close`.
  socket.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })), CONNECT_MS);
    const finish = (error: Error | null): void => {
      clearTimeout(late);
      if (error === null) resolve();
      else reject(error);
    };
    socket.once('connect', () => finish(null)).once('error', finish);
  });
  return { socket, input: new ByteInput(socket) };
}

const NO_BENCH = 'no bench answers behind the server: start it there with qtunnel bench -server.';
const CONNECT_MS = 5000;
const ANSWER_MS = 10_000;
