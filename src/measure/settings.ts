import { type Environment, environmentLayer } from '../config/environment.ts';
import type { FlagName, FlagShape } from '../config/flags.ts';
import { given, type Layer, type LayerValue, readValue, refusal, withoutValues } from '../config/layer.ts';
import { settleTunnel } from '../config/settle.ts';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { parseValue } from '../config/values.ts';
import { QtunnelError } from '../errors.ts';
import { BENCH_FLAGS, isOwn, type OwnFlagName, ownFlag } from './flags.ts';

/** What one run of `qtunnel bench` is told. */
export type BenchSettings = FarSettings | NearSettings | BothSettings;

export interface FarSettings {
  readonly end: 'far';
  readonly tunnel: TunnelSettings;
  /** Where to listen for plain TCP; null for nowhere. */
  readonly direct: Address | null;
}

export interface NearSettings {
  readonly end: 'near';
  /** A client's, `backend` being the far end. */
  readonly tunnel: TunnelSettings;
  readonly wanted: Wanted;
}

/** Both ends on this machine. Who the peer is needs no settings then. */
export interface BothSettings {
  readonly end: 'both';
  readonly server: TunnelSettings;
  readonly client: TunnelSettings;
  readonly wanted: Wanted;
}

/** What is to be measured. */
export interface Wanted {
  readonly tests: ReadonlySet<TestName>;
  readonly seconds: number;
  readonly connections: readonly number[];
  /** Bytes. */
  readonly sizes: readonly number[];
  readonly transfers: number;
  readonly json: boolean;
}

const TEST_NAMES = ['throughput', 'sizes', 'latency', 'reliability'] as const;
export type TestName = (typeof TEST_NAMES)[number];

/** @throws QtunnelError `USAGE` or `CONFIG_INVALID` for what cannot be meant. */
export function settleBench(words: ReadonlyMap<string, LayerValue>, environment: Environment): BenchSettings {
  const ofTunnel = [...words].filter(([name]) => !isOwn(name)) as [FlagName, LayerValue][];
  const commandLine: Layer = { shared: false, values: new Map(ofTunnel) };
  const layers = [commandLine, environmentLayer(environment, true), UNLESS_TOLD];
  const far = words.get('server')?.value === true;
  const both = !far && given(layers, 'backend') === undefined;
  refuseOtherEnd(words, far);
  if (both) refuseIdentity(commandLine);
  if (far)
    return {
      end: 'far',
      tunnel: settleEnd(layers, false, environment),
      direct: (words.get('direct')?.value as Address | undefined) ?? null,
    };
  const wanted = settleWanted(words);
  if (!both) return { end: 'near', tunnel: settleEnd(layers, true, environment), wanted };
  const tuning = layers.map((layer) => withoutValues(layer, (name) => isIdentity(name)));
  return { end: 'both', server: settleEnd(tuning, false, environment), client: settleEnd(tuning, true, environment), wanted };
}

function settleEnd(layers: readonly Layer[], client: boolean, environment: Environment): TunnelSettings {
  const role: Layer = { shared: true, values: new Map([['clientmode', { where: '-server', value: client }]]) };
  return settleTunnel('bench', [role, ...layers], environment);
}

function settleWanted(words: ReadonlyMap<string, LayerValue>): Wanted {
  const own = <T>(name: OwnFlagName): T => (words.get(name) ?? defaultOf(ownFlag(name))).value as T;
  return {
    tests: new Set(own<string[]>('tests').map((word) => testName(word))),
    seconds: own('seconds'),
    connections: numbers('connections', own('connections'), 'integer'),
    sizes: numbers('sizes', own('sizes'), 'size'),
    transfers: own('transfers'),
    json: own('json'),
  };
}

function testName(word: string): TestName {
  const found = TEST_NAMES.find((name) => name === word);
  if (found !== undefined) return found;
  throw usage(refusal(ownFlag('tests'), '-tests', `some of ${TEST_NAMES.join(', ')}`, word));
}

/** Each once, in the order given. */
function numbers(name: OwnFlagName, texts: readonly string[], kind: 'integer' | 'size'): number[] {
  const one: FlagShape = { ...ownFlag(name), kind };
  const values = texts.map((text) => {
    const parsed = parseValue(one, text);
    if ('expected' in parsed)
      throw usage(refusal(one, `-${name}`, `${parsed.expected}, or several with commas between them`, text));
    return parsed.value as number;
  });
  return [...new Set(values)];
}

function defaultOf(flag: FlagShape): LayerValue {
  return readValue(flag, flag.default ?? '', `-${flag.name}`, 'USAGE');
}

function refuseOtherEnd(words: ReadonlyMap<string, LayerValue>, far: boolean): void {
  for (const [name, { where, value }] of words) {
    const end = BENCH_FLAGS.find((flag) => flag.name === name)?.end;
    if (end === undefined || value === false || (end === 'far') === far) continue;
    throw usage(
      far
        ? `${where} is for the near end, and -server makes this the far one: leave one of them out`
        : `${where} is for the far end: add -server, or leave it out`,
    );
  }
}

function refuseIdentity({ values }: Layer): void {
  for (const [name, { where, value }] of values) {
    if (value === false || !isIdentity(name)) continue;
    throw usage(`${where} is for two hosts: add -backend=HOST:PORT here or -server on the other, or leave it out`);
  }
}

/** What both ends on one machine settle between themselves. */
function isIdentity(name: FlagName): boolean {
  return (
    BENCH_FLAGS.some((flag) => flag.name === name && flag.group === 'Who the peer is') || name === 'listen' || name === 'backend'
  );
}

function usage(message: string): QtunnelError {
  return new QtunnelError('USAGE', message);
}

/** A bench that is not told otherwise measures QUIC. */
const UNLESS_TOLD: Layer = { shared: true, values: new Map([['quic', { where: '-quic', value: true }]]) };
