import { defaultKnownHosts, defaultMaxMemory, defaultStateDir } from './defaults.ts';
import type { Environment } from './environment.ts';
import { camelCase, type Flag, type FlagName, PROCESS_FLAGS, TUNNEL_FLAGS, type TunnelFlag, type ValuesOf } from './flags.ts';
import { given, type Layer } from './layer.ts';
import { withoutContradictions } from './contradictions.ts';
import type { NamedAddress, ProcessSettings, TunnelSettings } from './settings.ts';
import { parseValue } from './values.ts';

/**
 * Settles one tunnel's settings from what was given, the strongest layer first, and the defaults.
 * @throws QtunnelError `code` of what was given that cannot be meant together.
 */
export function settleTunnel(tag: string, all: readonly Layer[], environment: Environment): TunnelSettings {
  const layers = withoutContradictions(all);
  const stateDir = lookUp(layers, 'state-dir') ?? defaultStateDir(environment);
  const knownHosts = lookUp(layers, 'known-hosts') ?? defaultKnownHosts(stateDir);
  const { backend, ...values } = valuesOf<Exclude<TunnelFlag, Computed>>(TUNNEL_FLAGS, layers);
  return { tag, ...values, ...splitBackends(backend, values.clientmode), stateDir, knownHosts };
}

/** A tunnel's backends as `-backend` gives them, for showing them. */
export function listBackends(settings: Pick<TunnelSettings, 'backend' | 'backends' | 'otherServers'>): NamedAddress[] {
  const { backend, backends, otherServers } = settings;
  const nameless = [...(backend === null ? [] : [backend]), ...otherServers].map((address) => ({ name: '', ...address }));
  return [...nameless, ...Object.entries(backends).map(([name, address]) => ({ name, ...address }))];
}

/** @param terminal whether a log destination is a terminal; the log is pretty there and JSON everywhere else. */
export function settleProcess(layers: readonly Layer[], terminal: (logto: string) => boolean): ProcessSettings {
  const values = valuesOf<Exclude<(typeof PROCESS_FLAGS)[number], Computed>>(PROCESS_FLAGS, layers);
  const logFormat = lookUp(layers, 'log-format') ?? (terminal(values.logto) ? 'pretty' : 'json');
  const maxMemory = lookUp(layers, 'max-memory') ?? defaultMaxMemory();
  return { ...values, maxMemory, logFormat };
}

/** What was given for a flag, else its default; undefined for one whose default is computed. */
export function lookUp<Name extends FlagName>(layers: readonly Layer[], name: Name) {
  return given(layers, name)?.value;
}

/** The default as a value; null where there is none. */
export function defaultOf(flag: Flag): unknown {
  if (!('default' in flag) || flag.default === null) return null;
  if (flag.kind === 'list') return [];
  const parsed = parseValue(flag, flag.default);
  return 'value' in parsed ? parsed.value : null;
}

function splitBackends(
  given: readonly NamedAddress[],
  clientmode: boolean,
): Pick<TunnelSettings, 'backend' | 'backends' | 'otherServers'> {
  if (clientmode) {
    const [backend = null, ...otherServers] = given.map(({ host, port }) => ({ host, port }));
    return { backend, otherServers, backends: {} };
  }
  const entries = given.map(({ name, host, port }) => [name, { host, port }] as const);
  const { '': backend = null, ...backends } = Object.fromEntries(entries);
  return { backend, backends, otherServers: [] };
}

type Computed = { readonly computed: string };

function valuesOf<F extends Flag>(flags: readonly Flag[], layers: readonly Layer[]): ValuesOf<F> {
  const entries = flags
    .filter((flag) => !('computed' in flag))
    .map((flag) => [camelCase(flag.name), given(layers, flag.name)?.value ?? defaultOf(flag)]);
  return Object.fromEntries(entries) as ValuesOf<F>;
}
