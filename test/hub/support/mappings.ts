import type { Mapping } from '../../../src/hub/mapping.ts';
import type { Author, KeptMapping, Traffic } from '../../../src/hub/store/store.ts';

export const ANNA: Author = { actor: 'anna', peer: '192.0.2.1' };

export function mapping(port: number, changed: Partial<Mapping> = {}): Mapping {
  return {
    protocol: 'tcp',
    port,
    via: 'agent',
    agent: '',
    target: { host: '127.0.0.1', port: 22 },
    allow: [],
    bandwidth: Infinity,
    note: '',
    ...changed,
  };
}

export function kept(port: number, changed: Partial<Mapping> = {}): KeptMapping {
  return { mapping: mapping(port, changed), createdAt: new Date(1_700_000_000_000 + port) };
}

export function traffic(port: number, client: string, changed: Partial<Traffic> = {}): Traffic {
  return {
    protocol: 'tcp',
    port,
    client,
    connections: 1,
    bytesIn: 10,
    bytesOut: 100,
    seenAt: new Date(1_700_000_000_000),
    ...changed,
  };
}
