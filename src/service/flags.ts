import { findFlag, FLAGS, type FlagShape } from '../config/flags.ts';
import { AGENT_FLAGS, HUB_FLAGS } from '../hub/flags.ts';

/** What can be a service: the tunnels of `qtunnel` itself, a hub, or an agent. */
export type Kind = 'tunnels' | 'hub' | 'agent';
/** The service managers of Linux, macOS and Windows. */
export const MANAGER_NAMES = ['systemd', 'launchd', 'windows'] as const;
export type ManagerName = (typeof MANAGER_NAMES)[number];
export const VERBS = ['install', 'uninstall', 'status'] as const;
export type Verb = (typeof VERBS)[number];

const NAME_FLAG: FlagShape = {
  name: 'name',
  group: 'Service',
  scope: 'command',
  kind: 'name',
  default: null,
  help: "what is put after the service's name, for several on one machine; for an agent also what the hub calls it",
};
const DRY_RUN: FlagShape = {
  name: 'dry-run',
  group: 'Service',
  scope: 'command',
  kind: 'boolean',
  default: 'false',
  help: 'print what would be installed and the commands for it, and change nothing',
};
const MANAGER: FlagShape = {
  name: 'manager',
  group: 'Service',
  scope: 'command',
  kind: 'enum',
  choices: MANAGER_NAMES,
  computed: "this platform's",
  help: "with -dry-run: print another platform's",
};
const HELP = findFlag('help')!;

/** The flags of `qtunnel service` itself. */
export const SERVICE_FLAGS: readonly FlagShape[] = [NAME_FLAG, DRY_RUN, MANAGER, HELP];

/** The flags that a service of this kind is run with. */
export function flagsOfKind(kind: Kind): readonly FlagShape[] {
  const all: readonly FlagShape[] = { tunnels: FLAGS, hub: HUB_FLAGS, agent: AGENT_FLAGS }[kind];
  return all.filter(({ name, scope }) => scope !== 'command' || KEPT.has(name));
}

/** Everything that may be said after the verb. */
export function grammarOf(kind: Kind, verb: Verb): readonly FlagShape[] {
  if (verb !== 'install') return [NAME_FLAG, HELP];
  const names = new Set(SERVICE_FLAGS.map(({ name }) => name));
  return [...SERVICE_FLAGS, ...flagsOfKind(kind).filter(({ name }) => !names.has(name))];
}

const KEPT = new Set(['conf', 'tag']);
