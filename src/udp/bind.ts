import dgram from 'node:dgram';
import { closeSync } from 'node:fs';
import net from 'node:net';
import { QtunnelError } from '../errors.ts';
import { descriptorOf } from './descriptor.ts';
import type { UdpAddress, UdpHandler, UdpOptions } from './socket.ts';

/** A bound socket of Node's, connected when the options say so: where every implementation of `UdpSocket` begins. @throws as `OpenUdp`. */
export async function bindDgram({ bind, connect, fd }: UdpOptions): Promise<dgram.Socket> {
  const socket =
    fd !== undefined ? await adopted(bind, fd) : connect === undefined ? await bindAny(bind) : await connected(bind, connect);
  enlargeBuffers(socket);
  return socket;
}

async function adopted(bind: UdpAddress, fd: number): Promise<dgram.Socket> {
  // Node would bind another one.
  if (fd < 0) throw listenFailed(bind, new Error('its descriptor cannot be duplicated; raise "ulimit -n"'));
  const socket = createSocket(net.isIPv6(bind.host) ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ fd }, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    return socket;
  } catch (error) {
    const isTaken = descriptorOf(socket) === fd;
    closeQuietly(socket);
    if (!isTaken) closeSync(fd);
    throw listenFailed(bind, error as NodeJS.ErrnoException);
  }
}

async function connected(bind: UdpAddress, connect: UdpAddress): Promise<dgram.Socket> {
  const socket = createSocket(net.isIPv6(connect.host) ? 'udp6' : 'udp4');
  try {
    await bindSocket(socket, bind);
    await connectSocket(socket, connect);
    return socket;
  } catch (error) {
    closeQuietly(socket);
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new QtunnelError('LINK_REFUSED', `Cannot send UDP to ${connect.host} port ${connect.port} (${code}).`, { cause: error });
  }
}

/** What a send or receive error of the system means. */
export function udpError(error: NodeJS.ErrnoException): QtunnelError {
  const refused = error.code === 'ECONNREFUSED';
  const message = refused
    ? 'Nothing listens on the UDP port.'
    : `A UDP datagram could not be sent (${error.code ?? error.message}).`;
  return new QtunnelError(refused ? 'LINK_REFUSED' : 'LINK_LOST', message, { cause: error });
}

/** The system does not let a socket be used that it has opened. */
export function unusable(error: NodeJS.ErrnoException): QtunnelError {
  return new QtunnelError('LINK_LOST', `The UDP socket cannot be used (${error.code ?? error.message}).`, { cause: error });
}

/**
 * Whether the system refuses a datagram of `length` bytes as a router on the way would lose it: it has no room for it now, or the datagram is larger than the interface
 * carries (a probe of the MTU). Another socket would fare no better. A small one is too large only for an interface that is gone: Linux then has one of 68 bytes in its place.
 */
export function isLoss(code: string | undefined, length: number): boolean {
  return code === 'EAGAIN' || code === 'ENOBUFS' || code === 'ENOMEM' || (code === 'EMSGSIZE' && length > ALWAYS_CARRIED);
}

/** Host '' means IPv6 and IPv4 on one socket, or IPv4 alone on a machine without IPv6. */
async function bindAny(bind: UdpAddress): Promise<dgram.Socket> {
  const attempts: [dgram.SocketType, string][] =
    bind.host === ''
      ? [
          ['udp6', '::'],
          ['udp4', '0.0.0.0'],
        ]
      : [[net.isIPv6(bind.host) ? 'udp6' : 'udp4', bind.host]];
  let failure: unknown;
  for (const [type, host] of attempts) {
    const socket = createSocket(type);
    try {
      await bindSocket(socket, { host, port: bind.port });
      return socket;
    } catch (error) {
      closeQuietly(socket);
      failure = error;
      if ((error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT' && (error as NodeJS.ErrnoException).code !== 'EADDRNOTAVAIL')
        break;
    }
  }
  throw listenFailed(bind, failure as NodeJS.ErrnoException);
}

function listenFailed(bind: UdpAddress, error: NodeJS.ErrnoException): QtunnelError {
  const where = `UDP port ${bind.port}${bind.host === '' ? '' : ` of ${bind.host}`}`;
  const why: Record<string, string> = {
    EADDRINUSE: 'another program uses it; stop that or choose another -listen',
    EACCES: 'ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another -listen',
    EADDRNOTAVAIL: 'this machine does not have that address; choose another -listen',
  };
  return new QtunnelError('LISTEN_FAILED', `Cannot listen on ${where}: ${why[error.code ?? ''] ?? error.message}.`, {
    cause: error,
  });
}

function createSocket(type: dgram.SocketType): dgram.Socket {
  // Every host given to this socket is an IP address. Node's default look-up would still put the datagram off to the next tick, when its
  // buffer has been filled anew.
  const lookup = (host: string, family: unknown, callback: (error: null, address: string, family: number) => void): void =>
    callback(null, host, family as number);
  return dgram.createSocket({ type, lookup: lookup as never });
}

function bindSocket(socket: dgram.Socket, { host, port }: UdpAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port, ...(host !== '' && { address: host }) }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

function connectSocket(socket: dgram.Socket, { host, port }: UdpAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.connect(port, host, ((error?: Error) => (error ? reject(error) : resolve())) as () => void);
  });
}

function enlargeBuffers(socket: dgram.Socket): void {
  try {
    socket.setRecvBufferSize(KERNEL_BUFFER);
    socket.setSendBufferSize(KERNEL_BUFFER);
  } catch {
    // A machine that allows no larger buffers works with what it has.
  }
}

export function closeQuietly(socket: dgram.Socket): void {
  try {
    socket.close();
  } catch {
    // It was closed already.
  }
}

/** For a socket that nobody listens to yet, or any more. */
export const IGNORE: UdpHandler = { onDatagram() {}, onError() {} };
/** Bytes: room for the largest run. */
export const SEND_BUFFER = 65_536;
/** Bytes; the kernel cuts it to net.core.rmem_max. A burst of one bandwidth-delay product at 1 Gbit/s and 30 ms is 4 MB. */
const KERNEL_BUFFER = 4 << 20;

/** Bytes of payload: QUIC's least (RFC 9000 §14). */
export const ALWAYS_CARRIED = 1_200;
