import type { Test } from 'tap';
import { JsonLines } from '../../src/hub/json-lines.ts';
import { CONTROL_TARGET, HUB_LINKS } from '../../src/hub/registration.ts';
import type { Link } from '../../src/link/link.ts';
import { loadRoute } from '../../src/tunnel/route.ts';
import { OWN } from '../../src/tunnel/supplies.ts';
import { OVER, tunnelSettings, watched } from '../tunnel/tunnels.ts';
import type { RunningHub } from './hubs.ts';

/** What an agent says first. */
export const REGISTER = {
  type: 'register',
  version: 1,
  name: 'box',
  instance: '0123456789abcdef',
  fresh: true,
  software: 'test',
  allow: ['localhost:*'],
  publish: [] as object[],
};
/** Opens its control stream. */
export const REQUEST = { tag: '0123456789abcdef', target: CONTROL_TARGET };

/** An agent's link that says nothing by itself. */
export async function rawLink(t: Test, { settings }: RunningHub): Promise<Link> {
  const all = tunnelSettings(t, { clientmode: true, backend: settings.tunnel.listen, quic: false });
  const { ways } = await loadRoute(all, watched().context, OWN, HUB_LINKS);
  const link = await ways[0]!.connect.tls!(new AbortController().signal);
  t.teardown(() => link.close(OVER));
  return link;
}

/** Its control stream, and what the hub says there. */
export function converse(link: Link): { lines: JsonLines; heard: Record<string, unknown>[]; isOver: () => boolean } {
  const heard: Record<string, unknown>[] = [];
  let over = false;
  const lines = new JsonLines(link.open(REQUEST), {
    onMessage: (message) => void heard.push(message as Record<string, unknown>),
    onEnd: () => void (over = true),
  });
  return { lines, heard, isOver: () => over };
}
