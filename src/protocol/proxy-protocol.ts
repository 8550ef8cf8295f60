import { type ByteReader, ByteWriter } from './bytes.ts';
import { ipv4Bytes, ipv6Groups, plainAddress } from './ip-address.ts';

/**
 * The two ends of an application's TCP connection, as OPEN carries them and as PROXY protocol v2 writes them (§2.2, haproxy's proxy-protocol.txt): the 14th
 * byte (family and transport), then source address, destination address, source port, destination port. 13 bytes for IPv4, 37 for IPv6.
 */
export type Endpoints = Uint8Array<ArrayBuffer>;

/** One end. `host` is an IP address; a zone is left out, and an IPv4 address in IPv6's clothes is an IPv4 address. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export function encodeEndpoints(source: Endpoint, destination: Endpoint): Endpoints {
  const ends = [plainAddress(source.host), plainAddress(destination.host)];
  const ipv6 = ends.some((host) => host.includes(':'));
  const writer = new ByteWriter().u8(ipv6 ? TCP_OVER_IPV6 : TCP_OVER_IPV4);
  for (const host of ends) {
    if (ipv6) for (const group of ipv6Groups(host)) u16(writer, group);
    else for (const byte of ipv4Bytes(host)) writer.u8(byte);
  }
  return u16(u16(writer, source.port), destination.port).finish();
}

/** What follows in a message; null for nothing, or for a family of a later version. @throws QtunnelError `PROTOCOL_VIOLATION` when it ends too early. */
export function readEndpoints(reader: ByteReader): Endpoints | null {
  if (reader.remaining === 0) return null;
  const family = reader.u8();
  const length = LENGTHS[family];
  return length === undefined ? null : new ByteWriter().u8(family).raw(reader.raw(length)).finish();
}

/**
 * The header of PROXY protocol v2 (§2.2) that goes before a connection's first byte. Without endpoints its command is LOCAL: the connection is nobody else's, and
 * the receiver takes the addresses that it sees itself.
 */
export function proxyHeader(endpoints: Endpoints | null): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter().raw(SIGNATURE);
  if (endpoints === null) return u16(writer.u8(VERSION_2 | LOCAL).u8(UNSPECIFIED), 0).finish();
  const [family = UNSPECIFIED, ...addresses] = endpoints;
  return u16(writer.u8(VERSION_2 | PROXY).u8(family), addresses.length)
    .raw(Uint8Array.from(addresses))
    .finish();
}

function u16(writer: ByteWriter, value: number): ByteWriter {
  return writer.u8(value >>> 8).u8(value);
}

const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const VERSION_2 = 0x20;
const LOCAL = 0x00;
const PROXY = 0x01;
const UNSPECIFIED = 0x00;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;
/** Bytes of addresses and ports. */
const LENGTHS: Readonly<Record<number, number>> = { [TCP_OVER_IPV4]: 12, [TCP_OVER_IPV6]: 36 };
