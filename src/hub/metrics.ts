import { Counter, Gauge, type Registry } from 'prom-client';
import { mappingKey } from './mapping.ts';
import type { MappingState, Publisher } from './publisher.ts';

/** Adds what a hub knows of its agents and mappings; read when somebody asks. */
export function addHubMetrics(registry: Registry, hub: Pick<Publisher, 'agents' | 'mappings'>): void {
  const agents = new Gauge({
    name: 'qtunnel_hub_agents',
    help: 'Agents that can carry a connection now.',
    registers: [registry],
    collect() {
      this.set(hub.agents().length);
    },
  });
  agents.set(0);
  for (const family of FAMILIES) register(registry, family, hub);
}

function register(registry: Registry, { kind: Kind, name, help, direction, value }: Family, hub: Pick<Publisher, 'mappings'>) {
  return new Kind({
    name: `qtunnel_hub_${name}`,
    help,
    labelNames: ['mapping', ...(direction ? ['direction'] : [])],
    registers: [registry],
    collect() {
      this.reset();
      for (const state of hub.mappings())
        for (const [labels, number] of value(state)) this.inc({ mapping: mappingKey(state.mapping), ...labels }, number);
    },
  });
}

interface Family {
  readonly kind: typeof Counter | typeof Gauge;
  readonly name: string;
  readonly help: string;
  readonly direction?: true;
  readonly value: (state: MappingState) => readonly (readonly [labels: Record<string, string>, value: number])[];
}

const FAMILIES: readonly Family[] = [
  {
    kind: Gauge,
    name: 'mapping_ready',
    help: 'Whether a new connection to this public port would be carried (1) or reset (0).',
    value: ({ ready }) => [[{}, ready ? 1 : 0]],
  },
  {
    kind: Gauge,
    name: 'mapping_connections',
    help: 'Connections of this public port now.',
    value: ({ connections }) => [[{}, connections]],
  },
  {
    kind: Counter,
    name: 'mapping_connections_total',
    help: 'Connections that this public port has taken, those open now included.',
    value: ({ connectionsTotal }) => [[{}, connectionsTotal]],
  },
  {
    kind: Counter,
    name: 'mapping_refused_total',
    help: 'Connections to this public port that were reset: not allowed, no agent, or a target that could not be dialled.',
    value: ({ refusedTotal }) => [[{}, refusedTotal]],
  },
  {
    kind: Counter,
    name: 'mapping_bytes_total',
    help: 'Bytes from clients to the target (in) and back (out).',
    direction: true,
    value: ({ bytesIn, bytesOut }) => [
      [{ direction: 'in' }, bytesIn],
      [{ direction: 'out' }, bytesOut],
    ],
  },
];
