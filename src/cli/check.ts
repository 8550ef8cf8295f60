import { Document, isMap } from 'yaml';
import { isForOtherRole } from '../config/contradictions.ts';
import type { Configuration } from '../config/load.ts';
import { camelCase, type Flag, type FlagShape, PROCESS_FLAGS, TUNNEL_FLAGS } from '../config/flags.ts';
import type { ClientEntry, TunnelSettings } from '../config/settings.ts';
import { listBackends } from '../config/settle.ts';
import { formatRate, formatSpan, formatValue } from '../config/values.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import { loadAuthorities } from '../identity/authorities.ts';
import { loadClientIdentity } from '../identity/client-identity.ts';
import { loadClients, type LoadedClients } from '../identity/clients.ts';
import { loadSecrets } from '../identity/secret.ts';
import { loadServerIdentity } from '../identity/server-identity.ts';
import { TrustPolicy } from '../identity/trust.ts';

/**
 * The effective settings as YAML in the shape of a `-conf` file, secrets masked, and as comments what the files they name hold.
 * @throws QtunnelError for a file that cannot be read or holds the wrong thing.
 */
export async function checkText({ tunnels, process: ofProcess }: Configuration): Promise<string> {
  const document = new Document({
    ...entriesOf(PROCESS_FLAGS, byFlag(PROCESS_FLAGS, ofProcess)),
    tunnels: Object.fromEntries(tunnels.map((tunnel) => [tunnel.tag, entriesOf(meaningful(tunnel), ofTunnel(tunnel))])),
  });
  const found = await Promise.all(tunnels.map(checkFiles));
  for (const [index, remarks] of found.entries()) {
    const entry = document.getIn(['tunnels', tunnels[index]?.tag]);
    if (isMap(entry) && remarks.length > 0) entry.commentBefore = remarks.map((remark) => ` ${remark}`).join('\n');
  }
  return document.toString({ lineWidth: 0 });
}

/**
 * Reads the files that a tunnel needs, as its start would, and writes none.
 * @returns sentences on what is there.
 * @throws QtunnelError as `loadSecrets`, `loadServerIdentity` and `TrustPolicy.load` do.
 */
export async function checkFiles(settings: TunnelSettings): Promise<string[]> {
  const { secrets, warnings } = await loadSecrets(settings.secret, settings.secretFile);
  const peer = settings.clientmode ? await checkTrust(settings, secrets[0] ?? null) : await checkIdentity(settings);
  const named = await loadClients(settings.clients);
  return [...warnings, ...clientsText(named), ...peer];
}

function clientsText(named: LoadedClients | null): string[] {
  return named === null ? [] : [`Clients: ${named.clients.map(({ name }) => name).join(', ')}.`, ...named.warnings];
}

async function checkTrust(settings: TunnelSettings, secret: string | null): Promise<string[]> {
  await TrustPolicy.load({ ...settings, secret });
  const identity = await loadClientIdentity(settings.certFile, settings.keyFile);
  return identity === null ? [] : [`Certificate: ${formatFingerprint(identity.keys.fingerprint)}.`, ...identity.warnings];
}

async function checkIdentity({ certFile, keyFile, stateDir, clientCa }: TunnelSettings): Promise<string[]> {
  if (clientCa !== null) await loadAuthorities(clientCa);
  // Without a certificate of the user's, loading would make one: that is for the start.
  if (certFile === null || keyFile === null) return ["The server's own certificate is kept in state-dir."];
  const { fingerprint, validTo, warnings } = await loadServerIdentity({ certFile, keyFile, stateDir });
  return [`Certificate: ${formatFingerprint(fingerprint)}, valid until ${validTo.toISOString().slice(0, 10)}.`, ...warnings];
}

/** Without the flags of the other role, which a file would be refused for. */
function meaningful({ clientmode }: TunnelSettings): readonly Flag[] {
  return TUNNEL_FLAGS.filter(({ name }) => !isForOtherRole(name, clientmode));
}

function ofTunnel(tunnel: TunnelSettings): ReadonlyMap<string, unknown> {
  return byFlag(TUNNEL_FLAGS, { ...tunnel, backend: listBackends(tunnel) });
}

function byFlag(flags: readonly Flag[], settings: object): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>(Object.entries(settings));
  return new Map(flags.map(({ name }) => [name, values.get(camelCase(name))]));
}

/** What a file would say of these flags, secrets masked; `values` has them by the flags' names. */
export function entriesOf(flags: readonly FlagShape[], values: ReadonlyMap<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    flags.flatMap((flag) => {
      const value = values.get(flag.name);
      const isSet = value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0);
      return isSet ? [[flag.name, shown(flag, value)] as const] : [];
    }),
  );
}

function shown(flag: FlagShape, value: unknown): unknown {
  if (flag.secret === true) return MASK;
  if (flag.name === 'clients' && Array.isArray(value)) return maskedClients(value as ClientEntry[]);
  return formatValue(flag, value as never);
}

function maskedClients(clients: readonly ClientEntry[]): unknown {
  return Object.fromEntries(
    clients.map(({ name, secret, secretFile, fingerprints, backends, maxConnections, bandwidth, ports }) => [
      name,
      {
        ...(secret !== null && { secret: MASK }),
        ...(secretFile !== null && { 'secret-file': secretFile }),
        ...(fingerprints !== null && { fingerprint: fingerprints.map(formatFingerprint) }),
        ...(backends !== null && { backends }),
        ...(maxConnections !== null && { 'max-connections': maxConnections }),
        ...(bandwidth !== null && { bandwidth: formatRate(bandwidth) }),
        ...(ports !== null && { ports: ports.map(formatSpan) }),
      },
    ]),
  );
}

const MASK = '******';
