import os from 'node:os';
import { QtunnelError } from '../errors.ts';
import { canonicalAddress } from '../protocol/ip-address.ts';
import { type Mapping, mappingKey, type Protocol } from './mapping.ts';

/**
 * Refuses a direct mapping whose connections would come back to a port of this hub that leads to the first again, each of them costing the next until none is left. Names other
 * than `localhost` are not looked up.
 *
 * `host` is the address of the public ports, '' for all; `find` has the mappings that are there.
 * @throws QtunnelError `MAPPING_LOOPS`
 */
export function refuseLoop(mapping: Mapping, host: string, find: (protocol: Protocol, port: number) => Mapping | undefined): void {
  const passed = new Set<number>();
  let at: Mapping | undefined = mapping;
  while (at?.via === 'direct' && isOwn(at.target.host, host)) {
    passed.add(at.port);
    const { port } = at.target;
    if (passed.has(port)) throw new QtunnelError('MAPPING_LOOPS', messageFor(mapping, port, passed));
    at = find(mapping.protocol, port);
  }
}

function messageFor({ protocol }: Mapping, port: number, passed: ReadonlySet<number>): string {
  const way = [...passed, port].map((each) => mappingKey({ protocol, port: each })).join(' → ');
  return `Connections would go round in circles on the hub itself: ${way}.`;
}

/** Whether a connection to `target` comes to the public ports. */
function isOwn(target: string, host: string): boolean {
  const address = canonicalAddress(target);
  if (host === '' || host === '0.0.0.0' || host === '::') return isLocal(address);
  return address === canonicalAddress(host) || (address === 'localhost' && isLoopback(host));
}

function isLocal(address: string): boolean {
  if (address === 'localhost' || address === '0.0.0.0' || address === '::' || isLoopback(address)) return true;
  return Object.values(os.networkInterfaces()).some((entries) =>
    entries?.some((entry) => canonicalAddress(entry.address) === address),
  );
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}
