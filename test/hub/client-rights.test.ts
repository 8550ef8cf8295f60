import { test } from 'tap';
import type { ClientEntry, PortSpan } from '../../src/config/settings.ts';
import { nameRefusal, portRefusal } from '../../src/hub/client-rights.ts';
import { eventually } from '../support/deadline.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';
import { clientEntry } from '../tunnel/tunnels.ts';
import { isReady, startAgent, startHub, stateOf } from './hubs.ts';

void test('who may ask for a port: a client for what is its, everybody else for what is nobody’s', (t) => {
  const span = (first: number, last = first): PortSpan => ({ first, last });
  const all = [
    { name: 'laptop', ports: [span(10_000, 10_010), span(10_022)] },
    { name: 'phone', ports: [] },
    { name: 'tablet', ports: null },
  ];
  const table: [port: number, client: string, refusal: RegExp | null][] = [
    [10_000, 'laptop', null],
    [10_010, 'laptop', null],
    [10_022, 'laptop', null],
    [10_011, 'laptop', /the public ports 10000-10010, 10022 \(-clients\), not for 10011/],
    [10_011, 'phone', /no public ports/],
    [10_011, 'tablet', null],
    [10_011, '', null],
    [10_005, 'tablet', /kept for another client/],
    [10_022, '', /kept for another client/],
  ];
  for (const [port, client, refusal] of table) {
    const said = portRefusal(port, client, all);
    if (refusal === null) t.equal(said, null, `${client} ${port}`);
    else t.match(said, refusal, `${client} ${port}`);
  }
  t.equal(portRefusal(10_005, '', []), null, 'without -clients everybody may have all');
  t.equal(nameRefusal('laptop', 'laptop', all), null);
  t.equal(nameRefusal('', 'box', all), null);
  t.match(nameRefusal('laptop', 'phone', all), /laptop has that name too, not phone/);
  t.match(nameRefusal('', 'phone', all), /-client-name=phone/);
  t.end();
});

void test('a hub with -clients: no agent has another’s ports or name; a change of rights counts at once', async (t) => {
  const [kept, other, foreign] = [await freePort(), await freePort(), await freePort()];
  const clients = [entry('laptop', [kept]), entry('phone', [other])];
  const hub = await startHub(t, { clients, secret: 'of all' });
  const echo = await echoServer(t);
  const wishes = [kept, other, foreign].map((port) => `${port}:127.0.0.1:${echo}`);

  // Who knows only what all know, and is here first.
  const stranger = await startAgent(t, hub, { name: 'box', wishes, tunnel: { secret: 'of all' } });
  await stateOf(hub, foreign, isReady);
  const refused = () => stranger.lines.filter(({ event }) => event === 'port_refused').map(({ msg }) => msg);
  await eventually('the refusals', () => refused().length === 2);
  t.match(refused(), [/kept for another client/, /kept for another client/]);
  const thief = await startAgent(t, hub, { name: 'phone', tunnel: { secret: 'of all' } });
  await eventually('its refusal', () => thief.lines.some(({ event, msg }) => event === 'agent_refused' && /a client's/.test(msg)));

  const laptop = await startAgent(t, hub, {
    name: 'laptop',
    wishes: wishes.slice(0, 2),
    tunnel: { clientName: 'laptop', secret: 'of laptop' },
  });
  await stateOf(hub, kept, isReady);
  await eventually('what it may not have', () => laptop.lines.some(({ event }) => event === 'port_refused'));
  t.match(
    laptop.lines.find(({ event }) => event === 'port_refused'),
    { code: 'PORT_OUTSIDE', msg: new RegExp(`may ask for the public ports ${kept} `) },
  );
  t.ok(await echoes(await dial(t, kept), 'hello'));

  const open = await dial(t, kept);
  t.ok(await echoes(open, 'still its own'));
  const changed = { ...hub.settings.tunnel, clients: [entry('laptop', []), entry('phone', [foreign]), entry('box', [])] };
  (await hub.hub.prepare({ ...hub.settings, tunnel: changed })).takeEffect();
  t.equal(await ending(open), 'reset');
  await eventually('no port for anybody', () => hub.hub.mappings().length === 0);
  await eventually('the stranger put out', () => stranger.lines.some(({ event }) => event === 'agent_refused'));
  t.strictSame(
    hub.hub.agents().map(({ name }) => name),
    ['laptop'],
  );
});

function entry(name: string, ports: readonly number[]): ClientEntry {
  return clientEntry(name, { ports: ports.map((port) => ({ first: port, last: port })) });
}
