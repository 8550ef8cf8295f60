import type { PortSpan } from '../config/settings.ts';
import { formatSpan } from '../config/values.ts';
import type { ClientRights } from '../tunnel/accounts.ts';

type Rights = Pick<ClientRights, 'name' | 'ports'>;

/**
 * Why an agent may not ask for a public port; null when it may. A client with `ports` may ask for these; everybody else for what is in nobody's.
 * @param client whose agent it is; empty for one without a name.
 * @param all the rights of all named clients.
 */
export function portRefusal(port: number, client: string, all: readonly Rights[]): string | null {
  const own = all.find(({ name }) => name === client)?.ports ?? null;
  if (own !== null) return has(own, port) ? null : `The client ${client} may ask for ${textOf(own)} (-clients), not for ${port}.`;
  const isKept = all.some(({ ports }) => ports !== null && has(ports, port));
  return isKept ? `The public port ${port} is kept for another client (-clients).` : null;
}

/** Why an agent may not have this name; null when it may. A named client's agent has that name and no other, and nobody else has it. */
export function nameRefusal(client: string, name: string, all: readonly Rights[]): string | null {
  if (client === name) return null;
  if (client !== '') return `An agent of the client ${client} has that name too, not ${name}: leave -name out.`;
  if (all.every((one) => one.name !== name)) return null;
  return `The name ${name} is a client's (-clients): give this agent another -name, or -client-name=${name} and that client's secret.`;
}

function has(spans: readonly PortSpan[], port: number): boolean {
  return spans.some(({ first, last }) => port >= first && port <= last);
}

function textOf(spans: readonly PortSpan[]): string {
  return spans.length === 0 ? 'no public ports' : `the public ports ${spans.map(formatSpan).join(', ')}`;
}
