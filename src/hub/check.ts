import { Document } from 'yaml';
import { checkFiles, entriesOf } from '../cli/check.ts';
import { camelCase, PROCESS_FLAGS } from '../config/flags.ts';
import type { ProcessSettings } from '../config/settings.ts';
import { formatAddress } from '../link/address.ts';
import { readTokenFile } from './api/token-file.ts';
import { AGENT_FLAGS, HUB_FLAGS } from './flags.ts';
import type { AgentSettings, HubSettings, Settled } from './settings.ts';
import { agentValues, type FlagValues, hubValues } from './values.ts';

/**
 * A hub's effective settings as YAML in the shape of its `-conf` file, secrets masked, and as comments what the files they name hold.
 * @throws QtunnelError for a file that cannot be read or holds the wrong thing.
 */
export async function checkHub({ tunnels: [settings], process: ofProcess }: Settled<HubSettings>): Promise<string> {
  const { api, tokenFile, database } = settings.management;
  const {
    tunnel: _enabled,
    api: _listen,
    database: _masked,
    ...entries
  } = entriesOf(HUB_FLAGS, all(hubValues(settings), ofProcess));
  const grouped = {
    ...entries,
    tunnel: { enabled: settings.takesAgents },
    ...(api !== null && { api: { listen: formatAddress(api) } }),
    ...(database !== null && { database: databaseEntry(database) }),
  };
  const ofToken = tokenFile === null ? [] : (await readTokenFile(tokenFile)).warnings;
  return textOf(grouped, [...(await checkFiles(settings.tunnel)), ...ofToken]);
}

/** As `checkHub`, for an agent. */
export async function checkAgent({ tunnels: [settings], process: ofProcess }: Settled<AgentSettings>): Promise<string> {
  return textOf(entriesOf(AGENT_FLAGS, all(agentValues(settings), ofProcess)), await checkFiles(settings.tunnel));
}

function all(values: FlagValues, ofProcess: ProcessSettings): FlagValues {
  const process = new Map<string, unknown>(Object.entries(ofProcess));
  return new Map([...values, ...PROCESS_FLAGS.map(({ name }) => [name, process.get(camelCase(name))] as const)]);
}

/** A URL may hold a password. */
function databaseEntry(database: string): Record<string, string> {
  return database.includes('://') ? { url: '******' } : { path: database };
}

function textOf(entries: object, remarks: readonly string[]): string {
  const document = new Document(entries);
  if (remarks.length > 0) document.commentBefore = remarks.map((remark) => ` ${remark}`).join('\n');
  return document.toString({ lineWidth: 0 });
}
