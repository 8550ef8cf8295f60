import { camelCase, type FlagShape } from '../config/flags.ts';
import type { TunnelSettings } from '../config/settings.ts';
import { AGENT_FLAGS, HUB_FLAGS, isOwn } from './flags.ts';
import { formatPorts } from './port-range.ts';
import type { AgentSettings, HubSettings } from './settings.ts';
import { formatWish } from './wish.ts';

/** The settings of one of the two commands by the names of their flags; null for what is not set. */
export type FlagValues = ReadonlyMap<string, unknown>;

export function hubValues({ tunnel, takesAgents, ports, udpTimeout, management }: HubSettings): FlagValues {
  const { api, tls, tokenFile, networks, rate, database } = management;
  return new Map<string, unknown>([
    ...ofTunnel(tunnel, HUB_FLAGS),
    ['ports', formatPorts(ports)],
    ['tunnel', takesAgents],
    ['udp-timeout', udpTimeout],
    ['api', api],
    ['api-tls', tls],
    ['api-token-file', tokenFile],
    // Each as `Subnet: IPv4 10.0.0.0/8`, the last one first.
    ['api-allow', (networks?.rules ?? []).map((rule) => rule.split(' ').at(-1)!).toReversed()],
    ['api-rate', rate],
    ['database', database],
  ]);
}

export function agentValues({ tunnel, name, allow, wishes }: AgentSettings): FlagValues {
  return new Map<string, unknown>([
    ...ofTunnel(tunnel, AGENT_FLAGS),
    ['server', tunnel.backend],
    ['proxy-protocol', tunnel.proxyProtocol],
    ['R', wishes.map(formatWish)],
    ['allow', allow.texts],
    ['name', name],
  ]);
}

function ofTunnel(tunnel: TunnelSettings, flags: readonly FlagShape[]): [string, unknown][] {
  const values = new Map<string, unknown>(Object.entries(tunnel));
  return flags
    .filter(({ name, scope }) => scope === 'tunnel' && !isOwn(name))
    .map(({ name }) => [name, values.get(camelCase(name)) ?? null]);
}
