import { CMSG, IOVEC, type Libc, MMSGHDR, MSG, MSG_DONTWAIT, SOCKADDR, SOL_UDP, UDP_GRO } from './libc.ts';
import { localIn, PACKET_INFO_SPACE, readLocal } from './packet-info.ts';
import { readSockaddr } from './sockaddr.ts';
import type { UdpAddress, UdpHandler } from './socket.ts';

/** Receives up to `slots` datagrams, or runs that the kernel joined, in one system call, into buffers that are reused: 64 KiB for each. */
export class BatchReceiver {
  readonly slots: number;
  readonly #libc: Libc;
  readonly #fd: number;
  /** Not a `Buffer`: views of one cost half as much again. */
  readonly #payload: Uint8Array;
  readonly #headers: Buffer;
  readonly #iovs: Buffer;
  readonly #names: Buffer;
  readonly #nameView: DataView;
  readonly #controls: Buffer;
  readonly #controlView: DataView;
  /** By the bytes of `struct sockaddr` and of the local address: to spell an address out costs more than to find it, and strangers come from many. */
  readonly #addresses = new Map<string, UdpAddress>();
  /** Slots that the last call has filled. */
  #filled: number;
  /** What the control messages of a slot say: bytes of each datagram of a run, 0 for one alone; and where the local address is, of 0 bytes when it is not told. */
  #segment = 0;
  #localAt = 0;
  #localLength = 0;
  #lastName: Buffer = Buffer.alloc(SOCKADDR);
  #lastLocal: Buffer = Buffer.alloc(16);
  #last: UdpAddress = { host: '', port: 0 };

  constructor(libc: Libc, fd: number, slots: number) {
    this.#libc = libc;
    this.#fd = fd;
    this.slots = this.#filled = slots;
    this.#payload = new Uint8Array(Buffer.allocUnsafeSlow(slots * SLOT).buffer);
    this.#headers = Buffer.alloc(slots * MMSGHDR);
    this.#iovs = Buffer.alloc(slots * IOVEC + 64);
    this.#names = Buffer.allocUnsafeSlow(slots * SOCKADDR);
    this.#controls = Buffer.allocUnsafeSlow(slots * CONTROL_SPACE);
    this.#nameView = viewOf(this.#names);
    this.#controlView = viewOf(this.#controls);
    for (let slot = 0; slot < slots; slot++) this.#layOut(slot);
    const on = Buffer.alloc(4);
    on.writeInt32LE(1);
    // Without it (Linux before 5.0) each datagram comes alone.
    libc.setsockopt(fd, SOL_UDP, UDP_GRO, on, on.length);
  }

  /** Receives what is there, at most `slots` datagrams or runs, and returns how many; -1 when the kernel reports an error. */
  receive(socket: Receiving): number {
    for (let slot = 0; slot < this.#filled; slot++) this.#prepare(slot);
    const count = this.#libc.recvmmsg(this.#fd, this.#headers, this.slots, MSG_DONTWAIT, null);
    this.#filled = Math.max(0, count);
    for (let slot = 0; slot < count; slot++) this.#deliver(slot, socket);
    return count;
  }

  /** Hands what is in a slot on, datagram by datagram. */
  #deliver(slot: number, socket: Receiving): void {
    const length = this.#headers.readUInt32LE(slot * MMSGHDR + MSG.LENGTH);
    this.#readControls(slot);
    const from = this.#sender(slot);
    if (length === 0) return socket.handler.onDatagram(this.#payload, slot * SLOT, 0, from);
    const step = this.#segment || length;
    for (let at = 0; at < length; at += step)
      socket.handler.onDatagram(this.#payload, slot * SLOT + at, Math.min(step, length - at), from);
  }

  #layOut(slot: number): void {
    const header = slot * MMSGHDR;
    const pointer = (buffer: Uint8Array, at: number): bigint => this.#libc.address(buffer) + BigInt(at);
    this.#headers.writeBigUInt64LE(pointer(this.#names, slot * SOCKADDR), header + MSG.NAME);
    this.#headers.writeBigUInt64LE(pointer(this.#iovs, slot * IOVEC), header + MSG.IOV);
    this.#headers.writeBigUInt64LE(1n, header + MSG.IOVLEN);
    this.#headers.writeBigUInt64LE(pointer(this.#controls, slot * CONTROL_SPACE), header + MSG.CONTROL);
    this.#iovs.writeBigUInt64LE(pointer(this.#payload, slot * SLOT), slot * IOVEC);
    this.#iovs.writeBigUInt64LE(BigInt(SLOT), slot * IOVEC + 8);
  }

  /** The kernel has overwritten these with what it filled in. */
  #prepare(slot: number): void {
    const header = slot * MMSGHDR;
    this.#headers.writeUInt32LE(SOCKADDR, header + MSG.NAMELEN);
    this.#headers.writeUInt32LE(CONTROL_SPACE, header + MSG.CONTROLLEN);
  }

  #readControls(slot: number): void {
    this.#segment = this.#localLength = 0;
    let at = slot * CONTROL_SPACE;
    const end = at + this.#headers.readUInt32LE(slot * MMSGHDR + MSG.CONTROLLEN);
    while (at + CMSG.DATA < end) {
      const level = this.#controls.readInt32LE(at + CMSG.LEVEL);
      const type = this.#controls.readInt32LE(at + CMSG.TYPE);
      if (level === SOL_UDP && type === UDP_GRO) this.#segment = this.#controls.readInt32LE(at + CMSG.DATA);
      else this.#noteLocal(at, level, type);
      at += align(this.#controls.readUInt32LE(at + CMSG.LENGTH));
    }
  }

  #noteLocal(message: number, level: number, type: number): void {
    const local = localIn(level, type);
    if (local === null) return;
    this.#localAt = message + local.at;
    this.#localLength = local.length;
  }

  /** The same object for the same address. */
  #sender(slot: number): UdpAddress {
    const at = slot * SOCKADDR;
    const end = at + this.#headers.readUInt32LE(slot * MMSGHDR + MSG.NAMELEN);
    const localEnd = this.#localAt + this.#localLength;
    const isLast =
      this.#lastName.compare(this.#names, at, end, 0, end - at) === 0 &&
      this.#lastLocal.compare(this.#controls, this.#localAt, localEnd, 0, this.#localLength) === 0;
    if (!isLast) {
      this.#last = this.#addressAt(at, end);
      this.#names.copy(this.#lastName, 0, at, end);
      this.#controls.copy(this.#lastLocal, 0, this.#localAt, localEnd);
    }
    return this.#last;
  }

  #addressAt(at: number, end: number): UdpAddress {
    const local = this.#controls.toString('latin1', this.#localAt, this.#localAt + this.#localLength);
    const key = this.#names.toString('latin1', at, end) + local;
    let address = this.#addresses.get(key);
    if (address === undefined) {
      if (this.#addresses.size >= MAX_ADDRESSES) this.#addresses.clear();
      address = readSockaddr(this.#nameView, at);
      if (local !== '') address = { ...address, local: readLocal(this.#controlView, this.#localAt, this.#localLength) };
      this.#addresses.set(key, address);
    }
    return address;
  }
}

/** The handler may change while datagrams are handed on: nobody hears of those that come after `close`. */
interface Receiving {
  readonly handler: UdpHandler;
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** CMSG_ALIGN. */
function align(length: number): number {
  return (length + 7) & ~7;
}

/** Bytes: the largest datagram, or run that UDP_GRO makes. */
const SLOT = 65_536;
/** CMSG_SPACE of an int, and of a local address. */
const CONTROL_SPACE = 24 + PACKET_INFO_SPACE;
const MAX_ADDRESSES = 4096;
