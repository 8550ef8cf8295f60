import { findFlag, type FlagName, type FlagShape, TUNNEL_FLAGS } from '../config/flags.ts';

/** Which end a flag is for: the one that measures, or the one that it measures against. */
export type End = 'near' | 'far';

export interface BenchFlag extends FlagShape {
  /** Left out for both. */
  readonly end?: End;
}

/** What only `qtunnel bench` has. */
const OWN = [
  {
    name: 'server',
    group: 'Two hosts',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    help: 'be the far end: wait here for the near one',
  },
  {
    name: 'direct',
    group: 'Two hosts',
    scope: 'command',
    kind: 'address',
    default: null,
    anyPort: true,
    end: 'far',
    help: 'with -server: also listen here for plain TCP, to compare with; only who came through the tunnel can use it',
  },
  {
    name: 'seconds',
    group: 'What is measured',
    scope: 'command',
    kind: 'integer',
    min: 1,
    max: 3600,
    default: '2',
    end: 'near',
    help: 'how long each measurement of throughput and latency takes',
  },
  {
    name: 'tests',
    group: 'What is measured',
    scope: 'command',
    kind: 'list',
    default: 'throughput,sizes,latency,reliability',
    end: 'near',
    help: 'only these',
  },
  {
    name: 'connections',
    group: 'What is measured',
    scope: 'command',
    kind: 'list',
    min: 1,
    max: 1000,
    metavar: 'N,N',
    default: '1,10,100',
    end: 'near',
    help: 'throughput: over so many connections at once',
  },
  {
    name: 'sizes',
    group: 'What is measured',
    scope: 'command',
    kind: 'list',
    min: 1,
    max: 16 * 1024 ** 2,
    metavar: 'SIZE,SIZE',
    default: '64,1K,32K,1M',
    end: 'near',
    help: 'sizes and latency: the bytes that are written at once',
  },
  {
    name: 'transfers',
    group: 'What is measured',
    scope: 'command',
    kind: 'integer',
    min: 1,
    max: 100_000,
    default: '100',
    end: 'near',
    help: 'reliability: how many transfers are made and checked',
  },
  {
    name: 'json',
    group: 'What is measured',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    end: 'near',
    help: 'print one JSON document in the place of the table',
  },
] as const satisfies readonly BenchFlag[];

/** What differs here from what the tunnel's flags say of themselves. */
const CHANGED: Partial<Record<FlagName, Partial<BenchFlag>>> = {
  backend: { default: null, end: 'near', help: 'the far end; without it both ends run here, over loopback' },
  listen: { end: 'far', help: 'with -server: wait here; port 0 takes a free one' },
  quic: { default: 'true', help: 'QUIC, over UDP' },
  fallback: { help: 'with QUIC, TCP mode as well' },
};

/** The tunnel's own flags that a bench takes: all that make or tune a link. */
const OF_TUNNEL = TUNNEL_FLAGS.filter(({ name }) => name !== 'clientmode' && name !== 'drain-timeout').map(ofBench);

/** Every flag of `qtunnel bench`. */
export const BENCH_FLAGS: readonly BenchFlag[] = [...OWN, ...OF_TUNNEL, findFlag('help')!];

function ofBench(flag: FlagShape & { readonly name: FlagName }): BenchFlag {
  const changed = CHANGED[flag.name];
  const end = flag.only === 'client' ? 'near' : 'far';
  const group = changed === undefined ? flag.group : 'Two hosts';
  return { ...flag, ...(flag.only !== undefined && { end }), ...changed, group };
}

export type OwnFlagName = (typeof OWN)[number]['name'];

export function ownFlag(name: OwnFlagName): BenchFlag {
  return OWN.find((flag) => flag.name === name)!;
}

export function isOwn(name: string): boolean {
  return OWN.some((flag) => flag.name === name);
}
