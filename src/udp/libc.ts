import { createRequire } from 'node:module';
import os from 'node:os';

/** The system calls that `dgram` does not make. Only for 64-bit Linux with the little end first, where the structures below are laid out as written. */
export interface Libc {
  /** All return -1 on failure; `errno()` says why. */
  sendmsg(fd: number, message: Uint8Array, flags: number): number;
  recvmmsg(fd: number, messages: Uint8Array, count: number, flags: number, timeout: null): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  /** Another descriptor of the same socket. */
  duplicate(fd: number): number;
  errno(): number;
  /** Where a buffer is in memory; it stays there for as long as it is referenced. */
  address(buffer: Uint8Array): bigint;
}

/** Null where koffi is not installed, or the platform is another. */
export function loadLibc(): Libc | null {
  const loaded = libraryC();
  if (loaded === null) return null;
  const { koffi, libc } = loaded;
  return {
    sendmsg: libc.func('long sendmsg(int, void *, int)') as unknown as Libc['sendmsg'],
    recvmmsg: libc.func('int recvmmsg(int, void *, unsigned int, int, void *)') as unknown as Libc['recvmmsg'],
    setsockopt: libc.func('int setsockopt(int, int, int, void *, unsigned int)') as unknown as Libc['setsockopt'],
    duplicate: duplicator(libc),
    errno: () => koffi.errno(),
    address: (buffer) => koffi.address(buffer),
  };
}

/** Makes another descriptor of the same file, which a child process does not get; -1 on failure. */
export function duplicator(libc: CLibrary): (fd: number) => number {
  const fcntl = libc.func('int fcntl(int, int, int)') as unknown as (fd: number, command: number, from: number) => number;
  return (fd) => fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

type CLibrary = ReturnType<typeof import('koffi').load>;

/** The C library and what calls it; null as above. */
export function libraryC(): { koffi: typeof import('koffi'); libc: CLibrary } | null {
  if (process.platform !== 'linux' || os.endianness() !== 'LE' || !['x64', 'arm64'].includes(process.arch)) return null;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    return { koffi, libc: koffi.load('libc.so.6') };
  } catch {
    return null;
  }
}

/** Offsets within `struct msghdr` (56 bytes) and `struct mmsghdr` (64: msghdr, then the length received). */
export const MSG = { NAME: 0, NAMELEN: 8, IOV: 16, IOVLEN: 24, CONTROL: 32, CONTROLLEN: 40, FLAGS: 48, LENGTH: 56 } as const;
export const MSGHDR = 56;
export const MMSGHDR = 64;
/** `struct iovec`: base, length. */
export const IOVEC = 16;
/** `struct cmsghdr`: length (8), level (4), type (4), then the data. */
export const CMSG = { LENGTH: 0, LEVEL: 8, TYPE: 12, DATA: 16 } as const;
export const SOCKADDR = 28;

/** Linux's numbers. */
export const AF_INET = 2;
export const AF_INET6 = 10;
export const IPPROTO_IP = 0;
export const IP_PKTINFO = 8;
export const IP_MTU_DISCOVER = 10;
export const IPPROTO_IPV6 = 41;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
/** Sets DF and does not look at the MTU that the kernel has heard of. */
export const PMTUDISC_PROBE = 3;
export const SOL_SOCKET = 1;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
export const MSG_DONTWAIT = 0x40;
const F_DUPFD_CLOEXEC = 1030;
export const EIO = 5;
export const EINVAL = 22;
export const EMSGSIZE = 90;
