import net from 'node:net';
import os from 'node:os';
import { ipv4Bytes, ipv6Groups } from '../protocol/ip-address.ts';
import { AF_INET, AF_INET6, SOCKADDR } from './libc.ts';
import type { UdpAddress } from './socket.ts';

/** Writes `struct sockaddr_in` or `sockaddr_in6` and returns its length. Host is an IP address; `ipv6` says of which kind the socket is. */
export function writeSockaddr(into: DataView, { host, port }: UdpAddress, ipv6: boolean): number {
  into.setUint16(0, ipv6 ? AF_INET6 : AF_INET, true);
  into.setUint16(2, port);
  if (!ipv6) {
    ipv4Bytes(host).forEach((byte, i) => into.setUint8(4 + i, byte));
    return 16;
  }
  for (let at = 4; at < SOCKADDR; at++) into.setUint8(at, 0);
  const [address, zone] = host.split('%');
  ipv6Groups(address!).forEach((group, i) => into.setUint16(8 + 2 * i, group));
  if (zone !== undefined) into.setUint32(24, scopeOf(zone), true);
  return SOCKADDR;
}

export function readSockaddr(from: DataView, at: number): UdpAddress {
  const port = from.getUint16(at + 2);
  if (from.getUint16(at, true) === AF_INET) return { host: readIpv4(from, at + 4), port };
  const address = readIpv6(from, at + 8);
  const scope = from.getUint32(at + 24, true);
  return { host: scope === 0 ? address : `${address}%${zoneOf(scope)}`, port };
}

/** Four bytes of an address. */
export function readIpv4(from: DataView, at: number): string {
  return [0, 1, 2, 3].map((i) => from.getUint8(at + i)).join('.');
}

/** Sixteen bytes of an address, in Node's own spelling, so that it is the same as the one that `dgram` tells of. */
export function readIpv6(from: DataView, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => from.getUint16(at + 2 * i).toString(16));
  return new net.SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}

/** The number of a link-local address's interface, and its name. */
function scopeOf(zone: string): number {
  const found = os.networkInterfaces()[zone]?.find((entry) => entry.family === 'IPv6' && entry.scopeid !== 0);
  return found !== undefined && 'scopeid' in found ? found.scopeid : Number(zone) || 0;
}

function zoneOf(scope: number): string {
  const found = Object.entries(os.networkInterfaces()).find(([, entries]) =>
    entries?.some((entry) => 'scopeid' in entry && entry.scopeid === scope),
  );
  return found?.[0] ?? String(scope);
}
