/** `host:port` for people and logs, with brackets around an IPv6 address and without the prefix of an IPv4 address in IPv6's clothes. */
export function formatAddress({ host, port }: { host: string; port: number }): string {
  const plain = host.startsWith(MAPPED) && host.includes('.') ? host.slice(MAPPED.length) : host;
  return `${plain.includes(':') ? `[${plain}]` : plain}:${port}`;
}

/** The IP address in what `formatAddress` has made. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replaceAll(/[[\]]/g, '');
}

const MAPPED = '::ffff:';
