/** The four bytes of an IPv4 address in dotted form. */
export function ipv4Bytes(address: string): number[] {
  return address.split('.').map(Number);
}

/** The eight 16-bit groups of an IPv6 address without a zone (RFC 4291 §2.2); an IPv4 address becomes a mapped one (§2.5.5.2). */
export function ipv6Groups(address: string): number[] {
  const text = withoutDots(address.includes(':') ? address : MAPPED + address);
  const [head = '', rest] = text.split('::');
  const left = groupsOf(head);
  const right = rest === undefined ? [] : groupsOf(rest);
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}

/** The IPv4 address in a mapped one, else the address as it is; without a zone. */
export function plainAddress(address: string): string {
  const [bare = ''] = address.split('%');
  return bare.startsWith(MAPPED) && bare.includes('.') ? bare.slice(MAPPED.length) : bare;
}

/** As `plainAddress`, for an address that somebody may have written in an unusual way: `::ffff:7f00:1`, `0:0:0:0:0:FFFF:127.0.0.1`. */
export function canonicalAddress(address: string): string {
  const bare = plainAddress(address);
  if (!bare.includes(':')) return bare;
  const [a, b, c, d, e, mapped, high = 0, low = 0] = ipv6Groups(bare);
  if ([a, b, c, d, e].some((group) => group !== 0) || mapped !== 0xffff) return bare;
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** The last 32 bits of an address may be written as IPv4. */
function withoutDots(address: string): string {
  if (!address.includes('.')) return address;
  const dotted = address.lastIndexOf(':') + 1;
  const [a = 0, b = 0, c = 0, d = 0] = ipv4Bytes(address.slice(dotted));
  return `${address.slice(0, dotted)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function groupsOf(part: string): number[] {
  return part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
}

const MAPPED = '::ffff:';
