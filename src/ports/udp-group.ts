import { closeQuietly, bindDgram } from '../udp/bind.ts';
import { descriptorOf } from '../udp/descriptor.ts';
import { attachProgram, BPF, type BpfProgram, SO_ATTACH_REUSEPORT_CBPF } from '../udp/classic-bpf.ts';
import { AF_INET, AF_INET6, SOCKADDR, SOL_SOCKET } from '../udp/libc.ts';
import { writeSockaddr } from '../udp/sockaddr.ts';
import type { UdpAddress } from '../udp/socket.ts';
import { QtunnelError } from '../errors.ts';
import type { SocketCalls } from './socket-calls.ts';

/**
 * One UDP port with several sockets (SO_REUSEPORT). The kernel gives each datagram to the socket that its connection id names (protocol/place.ts), by a program
 * (`steer`); so a client whose address changes stays with its worker, and no thread or process passes datagrams to another.
 */
export interface UdpGroup {
  readonly address: UdpAddress;
  /** The sockets in their order. They stay open here, since the kernel numbers the sockets anew when one of them is closed. */
  readonly descriptors: readonly number[];
  close(): void;
}

/** Who gets the datagrams of a group. */
export interface Steering {
  /** Of each process. */
  readonly workers: number;
  /** The number of the first socket of the process that gets what is new: 0 or `workers`. */
  readonly first: number;
  /** Whether there are two processes with sockets of their own, each of which gets what its connections' ids name. */
  readonly shared: boolean;
}

/** `count` sockets; `steer` is to be called next. @throws QtunnelError `LISTEN_FAILED`, as for one socket. */
export async function openUdpGroup(bind: UdpAddress, count: number, calls: SocketCalls): Promise<UdpGroup> {
  // Bound alone at first: a port that another program uses is refused, even one that would share it.
  const first = await bindDgram({ bind });
  const { address: host, port } = first.address();
  const group = groupOf({ host, port }, [], calls);
  try {
    const fd = check(calls.duplicate(descriptorOf(first) ?? -1), 'dup', calls);
    group.descriptors.push(fd);
    check(calls.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, ON, ON.length), 'SO_REUSEPORT', calls);
    for (let further = 1; further < count; further++) openFurther({ host, port }, calls, group.descriptors);
  } catch (error) {
    group.close();
    throw error;
  } finally {
    closeQuietly(first);
  }
  return group;
}

/** A group of sockets that were opened before, in the same order; it owns these descriptors. */
export async function adoptUdpGroup(descriptors: readonly number[], calls: SocketCalls): Promise<UdpGroup> {
  const probe = await bindDgram({ bind: { host: '', port: 0 }, fd: calls.duplicate(descriptors[0]!) });
  const { address: host, port } = probe.address();
  closeQuietly(probe);
  return groupOf({ host, port }, [...descriptors], calls);
}

/** May be called again. @throws QtunnelError `LISTEN_FAILED`. */
export function steer({ descriptors }: UdpGroup, steering: Steering, calls: SocketCalls): void {
  attachSteering(descriptors[0]!, steering.shared ? programForTwo(steering) : programForOne(steering), calls);
}

function groupOf(address: UdpAddress, descriptors: number[], calls: SocketCalls): UdpGroup & { descriptors: number[] } {
  return { address, descriptors, close: () => descriptors.splice(0).forEach((fd) => calls.close(fd)) };
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

/** Everything by the connection id. */
function programForOne({ workers, first }: Steering): BpfProgram {
  return [
    [BPF.LOAD_BYTE, 0, 0, 0], // the packet's first byte
    [BPF.JUMP_IF_SET, 0, 2, 0x80], // not a long header: over the next two
    [BPF.LOAD_BYTE, 0, 0, 6], // a long header's destination connection id (RFC 8999 §5.1)
    [BPF.JUMP, 0, 0, 1],
    [BPF.LOAD_BYTE, 0, 0, 1], // a short header's, a shard's, a report's, a probe's
    [BPF.MODULO, 0, 0, workers],
    [BPF.ADD, 0, 0, first],
    [BPF.RETURN_VALUE, 0, 0, 0],
  ];
}

/** Initial and 0-RTT packets, whose ids clients choose, to the one that gets what is new; everything else by the id that a process has issued. */
function programForTwo({ workers, first }: Steering): BpfProgram {
  return [
    [BPF.LOAD_BYTE, 0, 0, 0],
    [BPF.JUMP_IF_SET, 0, 7, 0x80], // not a long header: to the last load
    [BPF.JUMP_IF_SET, 4, 0, 0x20], // Handshake or Retry (RFC 9000 §17.2)
    [BPF.LOAD_BYTE, 0, 0, 6],
    [BPF.MODULO, 0, 0, workers],
    [BPF.ADD, 0, 0, first],
    [BPF.RETURN_VALUE, 0, 0, 0],
    [BPF.LOAD_BYTE, 0, 0, 6],
    [BPF.JUMP, 0, 0, 1],
    [BPF.LOAD_BYTE, 0, 0, 1],
    [BPF.MODULO, 0, 0, 2 * workers],
    [BPF.RETURN_VALUE, 0, 0, 0],
  ];
}

/** Over the datagram's payload; what it returns is the number of the socket in the order in which they were bound. */
function attachSteering(fd: number, program: BpfProgram, calls: SocketCalls): void {
  check(attachProgram(fd, SO_ATTACH_REUSEPORT_CBPF, program, calls), 'SO_ATTACH_REUSEPORT_CBPF', calls);
}

function check(result: number, what: string, calls: SocketCalls): number {
  if (result >= 0) return result;
  const message = `The UDP port cannot be shared (${what}: error ${calls.errno()}); leave -workers and -supervise out.`;
  throw new QtunnelError('LISTEN_FAILED', message);
}

const ON = Buffer.of(1, 0, 0, 0);
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SO_REUSEPORT = 15;
