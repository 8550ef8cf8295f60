import koffi from 'koffi';

/** For a test's `skip` option: why no datagram can be made by hand here, else false. */
export function missingRawSockets(): string | false {
  return process.platform === 'linux' && process.getuid?.() === 0 ? false : 'needs Linux and root';
}

/** Sends a UDP datagram to this port of 127.0.0.1 that says it comes from port 0, as no socket for UDP would. */
export function sendFromPortZero(port: number, payload: Buffer): void {
  const libc = koffi.load('libc.so.6');
  const socket = libc.func('int socket(int domain, int type, int protocol)') as (...words: number[]) => number;
  const sendto = libc.func('long sendto(int fd, void *bytes, size_t length, int flags, void *to, unsigned int size)') as (
    ...words: unknown[]
  ) => number;
  const close = libc.func('int close(int fd)') as (fd: number) => number;
  const datagram = Buffer.concat([Buffer.alloc(8), payload]);
  datagram.writeUInt16BE(port, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  // struct sockaddr_in: family in the machine's byte order, port, address.
  const to = Buffer.alloc(16);
  to.writeUInt16LE(AF_INET, 0);
  to.set([127, 0, 0, 1], 4);
  const fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
  const sent = sendto(fd, datagram, datagram.length, 0, to, to.length);
  close(fd);
  if (sent !== datagram.length) throw new Error('The datagram was not sent');
}

const AF_INET = 2;
const SOCK_RAW = 3;
const IPPROTO_UDP = 17;
