import { closeQuietly, bindDgram } from '../udp/bind.ts';
import { descriptorOf } from '../udp/descriptor.ts';
import { AF_INET, AF_INET6, SOCKADDR, SOL_SOCKET } from '../udp/libc.ts';
import { writeSockaddr } from '../udp/sockaddr.ts';
import type { UdpAddress } from '../udp/socket.ts';
import { QtunnelError } from '../errors.ts';
import type { SocketCalls } from './sockets.ts';

/**
 * One UDP port with a socket for each worker (SO_REUSEPORT). The kernel gives each datagram to the worker that its connection id names
 * (protocol/place.ts), by a program of seven instructions; so a client whose address changes stays with its worker, and no thread passes datagrams to
 * another.
 */
export interface UdpGroup {
  readonly address: UdpAddress;
  /** A socket for each worker, in their order. They stay open here, since the kernel numbers the sockets anew when one of them is closed. */
  readonly descriptors: readonly number[];
  close(): void;
}

/** @throws QtunnelError `LISTEN_FAILED`, as for one socket. */
export async function openUdpGroup(bind: UdpAddress, workers: number, calls: SocketCalls): Promise<UdpGroup> {
  // Bound alone at first: a port that another program uses is refused, even one that would share it.
  const first = await bindDgram({ bind });
  const { address: host, port } = first.address();
  const descriptors: number[] = [];
  const close = (): void => descriptors.splice(0).forEach((fd) => calls.close(fd));
  try {
    const fd = check(calls.duplicate(descriptorOf(first) ?? -1), 'dup', calls);
    descriptors.push(fd);
    check(calls.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, ON, ON.length), 'SO_REUSEPORT', calls);
    for (let worker = 1; worker < workers; worker++) openFurther({ host, port }, calls, descriptors);
    attachProgram(fd, workers, calls);
  } catch (error) {
    close();
    throw error;
  } finally {
    closeQuietly(first);
  }
  return { address: { host, port }, descriptors, close };
}

function openFurther(address: UdpAddress, calls: SocketCalls, into: number[]): void {
  const ipv6 = address.host.includes(':');
  const fd = check(calls.socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', calls);
  into.push(fd);
  check(calls.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, ON, ON.length), 'SO_REUSEPORT', calls);
  const name = Buffer.alloc(SOCKADDR);
  const length = writeSockaddr(new DataView(name.buffer, name.byteOffset, SOCKADDR), address, ipv6);
  check(calls.bind(fd, name, length), 'bind', calls);
}

/** Classic BPF over the datagram's payload; what it returns is the number of the socket in the order in which they were bound. */
function attachProgram(fd: number, workers: number, calls: SocketCalls): void {
  const code = Buffer.alloc(8 * 7);
  const instructions = [
    [LOAD_BYTE, 0, 0, 0], // the packet's first byte
    [JUMP_IF_SET, 0, 2, 0x80], // not a long header: over the next two
    [LOAD_BYTE, 0, 0, 6], // a long header's destination connection id (RFC 8999 §5.1)
    [JUMP, 0, 0, 1],
    [LOAD_BYTE, 0, 0, 1], // a short header's, a shard's, a report's, a probe's
    [MODULO, 0, 0, workers],
    [RETURN, 0, 0, 0],
  ] as const;
  for (const [at, [operation, ifTrue, ifFalse, operand]] of instructions.entries()) {
    code.writeUInt16LE(operation, 8 * at);
    code.writeUInt8(ifTrue, 8 * at + 2);
    code.writeUInt8(ifFalse, 8 * at + 3);
    code.writeUInt32LE(operand, 8 * at + 4);
  }
  const program = Buffer.alloc(16);
  program.writeUInt16LE(instructions.length, 0);
  program.writeBigUInt64LE(calls.address(code), 8);
  check(calls.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program, program.length), 'SO_ATTACH_REUSEPORT_CBPF', calls);
}

function check(result: number, what: string, calls: SocketCalls): number {
  if (result >= 0) return result;
  const message = `The workers cannot share the UDP port (${what}: error ${calls.errno()}); leave -workers out.`;
  throw new QtunnelError('LISTEN_FAILED', message);
}

const ON = Buffer.of(1, 0, 0, 0);
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SO_REUSEPORT = 15;
const SO_ATTACH_REUSEPORT_CBPF = 51;
/** linux/filter.h: BPF_LD|B|ABS, BPF_JMP|JSET|K, BPF_JMP|JA, BPF_ALU|MOD|K, BPF_RET|A. */
const LOAD_BYTE = 0x30;
const JUMP_IF_SET = 0x45;
const JUMP = 0x05;
const MODULO = 0x94;
const RETURN = 0x16;
