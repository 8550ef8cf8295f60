import { COMMAND } from './flags/command.ts';
import { LIMITS } from './flags/limits.ts';
import { PEER } from './flags/peer.ts';
import type { FlagShape, KindValues } from './flags/shape.ts';
import { STRANGERS } from './flags/strangers.ts';
import { TUNNEL } from './flags/tunnel.ts';

/**
 * Every flag, once. Parsing, `-help`, `QTUNNEL_…`, the YAML keys, `-check` and the library's options are all read from this table.
 *
 * `default` is written as a user would write it; null means that there is none, and `computed` that it depends on the machine
 * (defaults.ts). `only` names the role for which a flag means anything.
 */
export const FLAGS = [...TUNNEL, ...PEER, ...LIMITS, ...STRANGERS, ...COMMAND] as const satisfies readonly FlagShape[];

export type { FlagShape, KindValues };

export type Flag = (typeof FLAGS)[number];
export type FlagName = Flag['name'];
export type TunnelFlag = Extract<Flag, { scope: 'tunnel' }>;

/** The type of a flag's value, with null where a flag has no default. */
export type ValueOf<F extends Flag> = Given<F> | (F extends { default: null } ? null : never);
/** The type of a value that was given. */
export type Given<F extends Flag> = F extends { choices: readonly (infer C)[] } ? C : KindValues[F['kind']];

export type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** The values of flags under their names in camel case. */
export type ValuesOf<F extends Flag> = { readonly [One in F as CamelCase<One['name']>]: ValueOf<One> };

export const TUNNEL_FLAGS = FLAGS.filter((flag) => flag.scope === 'tunnel');
export const PROCESS_FLAGS = FLAGS.filter((flag) => flag.scope === 'process');
const BY_NAME: ReadonlyMap<string, Flag> = new Map(FLAGS.map((flag) => [flag.name, flag]));

export function findFlag(name: string): Flag | undefined {
  return BY_NAME.get(name);
}

/** `idle-timeout` → `idleTimeout`, the name in settings and library options. */
export function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** `idle-timeout` → `QTUNNEL_IDLE_TIMEOUT`. */
export function environmentName(name: string): string {
  return ENVIRONMENT_PREFIX + name.toUpperCase().replaceAll('-', '_');
}

export const ENVIRONMENT_PREFIX = 'QTUNNEL_';
