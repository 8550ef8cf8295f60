import { ipv4Bytes, ipv6Groups } from '../protocol/ip-address.ts';
import { CMSG, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, IPV6_RECVPKTINFO, type Libc } from './libc.ts';
import { readIpv4, readIpv6 } from './sockaddr.ts';

/**
 * Has the kernel tell with each datagram which address of this machine it was sent to (ip(7), IP_PKTINFO; RFC 3542 §6.2). A socket that is bound to all of them would
 * answer from the one that the way back prefers, which a client that asked another one does not take.
 */
export function askForLocal(libc: Libc, fd: number, ipv6: boolean): boolean {
  const on = Buffer.of(1, 0, 0, 0);
  // On a socket for IPv6 that tells of IPv4 as well, as mapped addresses.
  if (ipv6) return libc.setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, on, on.length) === 0;
  return libc.setsockopt(fd, IPPROTO_IP, IP_PKTINFO, on, on.length) === 0;
}

/** Where a control message of this level and type has the bytes of a local address, from its own beginning on, and how many; null for another message. */
export function localIn(level: number, type: number): { readonly at: number; readonly length: number } | null {
  if (level === IPPROTO_IPV6 && type === IPV6_PKTINFO) return IN6_PKTINFO;
  return level === IPPROTO_IP && type === IP_PKTINFO ? IN_PKTINFO : null;
}

export function readLocal(from: DataView, at: number, length: number): string {
  return length === IN6_PKTINFO.length ? readIpv6(from, at) : readIpv4(from, at);
}

/** Writes the control message that has a datagram leave from `local`, so that it ends at `end`, and returns how long it is. */
export function writePacketInfo(into: DataView, end: number, local: string, ipv6: boolean): number {
  const space = ipv6 ? PACKET_INFO_SPACE : PACKET_INFO_SPACE - 8;
  const begin = end - space;
  for (let at = begin; at < end; at++) into.setUint8(at, 0);
  into.setBigUint64(begin + CMSG.LENGTH, BigInt(CMSG.DATA + (ipv6 ? 20 : 12)), true);
  into.setInt32(begin + CMSG.LEVEL, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, true);
  into.setInt32(begin + CMSG.TYPE, ipv6 ? IPV6_PKTINFO : IP_PKTINFO, true);
  // No interface: which one is for the routes to say.
  if (ipv6) ipv6Groups(local).forEach((group, i) => into.setUint16(begin + IN6_PKTINFO.at + 2 * i, group));
  else ipv4Bytes(local).forEach((byte, i) => into.setUint8(begin + IN_PKTINFO.at + i, byte));
  return space;
}

/** `struct in_pktinfo`: interface, local address (`ipi_spec_dst`), destination in the header. */
const IN_PKTINFO = { at: CMSG.DATA + 4, length: 4 } as const;
/** `struct in6_pktinfo`: address, interface. */
const IN6_PKTINFO = { at: CMSG.DATA, length: 16 } as const;
/** Bytes: CMSG_SPACE of the larger of the two. */
export const PACKET_INFO_SPACE = 40;
