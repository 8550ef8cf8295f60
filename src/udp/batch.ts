import type dgram from 'node:dgram';
import { getSystemErrorName } from 'node:util';
import { bindDgram, closeQuietly, IGNORE, isLoss, SEND_BUFFER, udpError, unusable } from './bind.ts';
import { descriptorOf, stopReading } from './descriptor.ts';
import { overDgram } from './dgram.ts';
import { BatchReceiver } from './batch-receiver.ts';
import { attachProgram, type BpfProgram, SO_ATTACH_FILTER, SO_DETACH_FILTER } from './classic-bpf.ts';
import {
  CMSG,
  EINVAL,
  EIO,
  EMSGSIZE,
  IOVEC,
  IP_MTU_DISCOVER,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU_DISCOVER,
  type Libc,
  loadLibc,
  MSG,
  MSG_DONTWAIT,
  MSGHDR,
  PMTUDISC_PROBE,
  SO_RCVBUFFORCE,
  SO_SNDBUFFORCE,
  SOCKADDR,
  SOL_SOCKET,
  SOL_UDP,
  UDP_SEGMENT,
} from './libc.ts';
import { askForLocal, PACKET_INFO_SPACE, writePacketInfo } from './packet-info.ts';
import { type Readiness, watchReadable } from './readiness.ts';
import { writeSockaddr } from './sockaddr.ts';
import type { OpenUdp, UdpAddress, UdpHandler, UdpOptions, UdpSocket } from './socket.ts';

/**
 * Opens UDP sockets that send a run of datagrams in one system call (UDP_SEGMENT, Linux 4.18) and receive many in one (`recvmmsg`, and UDP_GRO,
 * Linux 5.0). Null where that cannot be had. Measured on loopback, a datagram of 1400 bytes: 0.28 µs to send against `dgram`'s 2.1.
 */
export function batchUdp(libc: Libc | null = loadLibc()): OpenUdp | null {
  if (libc === null) return null;
  return async (options) => {
    const socket = await bindDgram(options);
    const fd = descriptorOf(socket);
    const connected = options.connect !== undefined;
    const readiness = fd === null || !canReceive(libc, fd) ? null : watchReadable(fd, libc, () => batch.handleReadable());
    if (fd === null || readiness === null || !stopReading(socket)) {
      readiness?.close();
      return overDgram(socket, connected);
    }
    let batch: BatchSocket;
    try {
      batch = new BatchSocket(socket, options, fd, libc, readiness);
    } catch (error) {
      readiness.close();
      closeQuietly(socket);
      throw unusable(error as Error);
    }
    return batch;
  };
}

/**
 * `dgram` owns the descriptor and does no more. It would allocate 64 KiB for each datagram or joined run, and have the garbage collected every 0.3 s in a bulk
 * transfer (docs/PERFORMANCE.md, "Bulk over QUIC").
 */
class BatchSocket implements UdpSocket {
  readonly address: UdpAddress;
  readonly sendBuffer = new Uint8Array(SEND_BUFFER);
  readonly kind = 'batch';
  readonly keepsWhole: boolean;
  handler: UdpHandler = IGNORE;
  readonly #socket: dgram.Socket;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #readiness: Readiness;
  readonly #receiver: BatchReceiver;
  readonly #message: SendMessage;
  readonly #connected: boolean;
  readonly #ipv6: boolean;
  #to: UdpAddress | null = null;
  /** False once the kernel has refused to cut a run into datagrams. */
  #segmenting = true;
  #closed = false;

  constructor(socket: dgram.Socket, { connect, isPlain = false }: UdpOptions, fd: number, libc: Libc, readiness: Readiness) {
    this.#socket = socket;
    this.#readiness = readiness;
    this.#libc = libc;
    this.#connected = connect !== undefined;
    this.#fd = fd;
    const local = socket.address();
    this.address = { host: local.address, port: local.port };
    this.#ipv6 = local.family === 'IPv6';
    this.#message = new SendMessage(libc, this.sendBuffer);
    if (!isPlain) enlargeBuffers(libc, this.#fd);
    this.keepsWhole = !isPlain && forbidFragments(libc, this.#fd, this.#ipv6);
    // A kernel that does not tell has answers leave from the address that the way back prefers.
    if (!this.#connected && isAny(local.address)) askForLocal(libc, this.#fd, this.#ipv6);
    this.#receiver = new BatchReceiver(libc, this.#fd, isPlain ? PLAIN_SLOTS : SLOTS);
    socket.on('error', (error) => this.#report(error));
  }

  /** There is something to receive. What is left after a few batches, the event loop tells of again once everybody else has had a turn. */
  handleReadable(): void {
    for (let batches = BATCHES_PER_EVENT; batches > 0 && !this.#closed; batches--) {
      const count = this.#receiver.receive(this);
      if (count < 0) return this.#reportErrno(0);
      if (count < this.#receiver.slots) return;
    }
  }

  send(length: number, segment: number, to: UdpAddress): void {
    if (this.#closed) return;
    if (to !== this.#to && !this.#connected) {
      this.#message.setReceiver(to, this.#ipv6);
      this.#to = to;
    }
    if (length === 0) return this.#sendRun(0, 0, 0);
    const most = this.#segmenting ? segmentsPerCall(segment) * segment : segment;
    for (let at = 0; at < length; at += most) this.#sendRun(at, Math.min(most, length - at), segment);
  }

  setFilter(program: BpfProgram | null): boolean {
    if (this.#closed) return false;
    if (program !== null) return attachProgram(this.#fd, SO_ATTACH_FILTER, program, this.#libc) === 0;
    return this.#libc.setsockopt(this.#fd, SOL_SOCKET, SO_DETACH_FILTER, Buffer.alloc(4), 4) === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.handler = IGNORE;
    this.#readiness.close();
    closeQuietly(this.#socket);
  }

  #sendRun(at: number, size: number, segment: number): void {
    if (this.#message.send(this.#fd, at, size, segment)) return;
    const errno = this.#libc.errno();
    if (size <= segment || !REFUSALS_OF_RUNS.has(errno)) return this.#reportErrno(Math.min(size, segment));
    // When the kernel does not take the datagrams one by one either, it was for the receiver's address, which may be a stranger's invention.
    if (this.#sendSingly(at, size, segment) && errno !== EMSGSIZE) this.#segmenting = false;
  }

  #sendSingly(at: number, size: number, segment: number): boolean {
    for (let sent = 0; sent < size; sent += segment) {
      if (this.#message.send(this.#fd, at + sent, Math.min(segment, size - sent), segment)) continue;
      this.#reportErrno(Math.min(segment, size - sent));
      return false;
    }
    return true;
  }

  /** The kernel has refused a datagram of `length` bytes. */
  #reportErrno(length: number): void {
    const code = getSystemErrorName(-this.#libc.errno());
    // EAGAIN also when nothing came after all.
    if (!isLoss(code, length)) this.#report(Object.assign(new Error('UDP'), { code }));
  }

  #report(error: NodeJS.ErrnoException): void {
    if (!this.#closed) this.handler.onError(udpError(error));
  }
}

/** Whether the system lets this process call `recvmmsg` at all; asks for no datagram. */
function canReceive(libc: Libc, fd: number): boolean {
  return libc.recvmmsg(fd, Buffer.alloc(MSGHDR + 8), 0, MSG_DONTWAIT, null) === 0;
}

/** Beyond what net.core.rmem_max allows, where this process may (CAP_NET_ADMIN); refused otherwise, and then what `dgram` got stays. */
function enlargeBuffers(libc: Libc, fd: number): void {
  const size = Buffer.alloc(4);
  size.writeInt32LE(KERNEL_BUFFER);
  for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) libc.setsockopt(fd, SOL_SOCKET, option, size, size.length);
}

/** Whether the kernel will not cut datagrams into fragments, nor have routers do it, whatever MTU it has heard of (RFC 8899 §3, requirement 2). */
function forbidFragments(libc: Libc, fd: number, ipv6: boolean): boolean {
  const probe = Buffer.alloc(4);
  probe.writeInt32LE(PMTUDISC_PROBE);
  // A socket for IPv6 carries IPv4 as well.
  const four = libc.setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, probe, probe.length) === 0;
  return four && (!ipv6 || libc.setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, probe, probe.length) === 0);
}

/** The arguments of `sendmsg`, laid out once. */
class SendMessage {
  readonly #libc: Libc;
  readonly #header: Buffer = Buffer.alloc(MSGHDR);
  readonly #name: Buffer = Buffer.allocUnsafeSlow(SOCKADDR);
  readonly #iov: Buffer = Buffer.allocUnsafeSlow(IOVEC);
  /** Where the datagrams leave from, up to its end; and behind that how large each datagram of a run is. */
  readonly #control: Buffer = Buffer.allocUnsafeSlow(PACKET_INFO_SPACE + SEGMENT_SPACE);
  readonly #controlBase: bigint;
  /** Bytes of the first of these two. */
  #packetInfo = 0;
  readonly #base: bigint;

  constructor(libc: Libc, buffer: Uint8Array) {
    this.#libc = libc;
    this.#base = libc.address(buffer);
    this.#header.writeBigUInt64LE(libc.address(this.#iov), MSG.IOV);
    this.#header.writeBigUInt64LE(1n, MSG.IOVLEN);
    this.#controlBase = libc.address(this.#control);
    this.#header.writeBigUInt64LE(this.#controlBase + BigInt(PACKET_INFO_SPACE), MSG.CONTROL);
    this.#control.writeBigUInt64LE(BigInt(CMSG.DATA + 2), PACKET_INFO_SPACE + CMSG.LENGTH);
    this.#control.writeInt32LE(SOL_UDP, PACKET_INFO_SPACE + CMSG.LEVEL);
    this.#control.writeInt32LE(UDP_SEGMENT, PACKET_INFO_SPACE + CMSG.TYPE);
  }

  setReceiver(to: UdpAddress, ipv6: boolean): void {
    this.#header.writeUInt32LE(writeSockaddr(viewOf(this.#name), to, ipv6), MSG.NAMELEN);
    this.#header.writeBigUInt64LE(this.#libc.address(this.#name), MSG.NAME);
    const { local } = to;
    this.#packetInfo = local === undefined ? 0 : writePacketInfo(viewOf(this.#control), PACKET_INFO_SPACE, local, ipv6);
    this.#header.writeBigUInt64LE(this.#controlBase + BigInt(PACKET_INFO_SPACE - this.#packetInfo), MSG.CONTROL);
  }

  /** Sends `size` bytes of the buffer from `at` on; false when the kernel refuses. */
  send(fd: number, at: number, size: number, segment: number): boolean {
    this.#iov.writeBigUInt64LE(this.#base + BigInt(at), 0);
    this.#iov.writeUInt32LE(size, 8);
    this.#iov.writeUInt32LE(0, 12);
    this.#header.writeUInt32LE(this.#packetInfo + (size > segment ? SEGMENT_SPACE : 0), MSG.CONTROLLEN);
    this.#control.writeUInt16LE(segment, PACKET_INFO_SPACE + CMSG.DATA);
    return this.#libc.sendmsg(fd, this.#header, MSG_DONTWAIT) >= 0;
  }
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** How many datagrams the kernel takes as one run. */
function segmentsPerCall(segment: number): number {
  return Math.max(1, Math.min(MAX_SEGMENTS, Math.floor(MAX_RUN / segment)));
}

/** CMSG_SPACE of two bytes. */
const SEGMENT_SPACE = 24;
/** Buffers for one call: 16 joined runs are 1 MB, two milliseconds at 500 MB/s. */
const SLOTS = 16;
const PLAIN_SLOTS = 2;
/** Bytes: 30 ms at 500 MB/s. */
const KERNEL_BUFFER = 16 << 20;
/** The kernel's UDP_MAX_SEGMENTS, and the most payload that one call may carry. */
const MAX_SEGMENTS = 64;
const MAX_RUN = 65_507;
/**
 * The device does not segment; something about the run, or before Linux 6.14 the MTU; and since then the MTU of the path to this receiver, which is no reason
 * to send others no runs.
 */
const REFUSALS_OF_RUNS = new Set([EIO, EINVAL, EMSGSIZE]);
/** With full runs, 4 MB: 10 ms at 400 MB/s. */
const BATCHES_PER_EVENT = 4;
