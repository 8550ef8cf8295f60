import { connect } from 'node:net';
import { test } from 'tap';
import { dial, echoes, echoServer, ending, freePort, listen } from '../support/tcp.ts';
import { eventually } from '../support/deadline.ts';
import { UdpRelay } from '../support/udp-relay.ts';
import { isReady, startAgent, startHub, stateOf } from './hubs.ts';

void test('UDP stops passing: the agent’s ports move to its link over TLS, and back when UDP passes again; what is open stays', async (t) => {
  const hub = await startHub(t);
  const relay = await UdpRelay.open(t, hub.settings.tunnel.listen.port, await freePort());
  await listen(t, (socket) => forward(socket, hub.settings.tunnel.listen.port), relay.port);
  const port = await freePort();
  const server = { host: '127.0.0.1', port: relay.port };
  const { lines } = await startAgent(t, hub, {
    wishes: [`${port}:127.0.0.1:${await echoServer(t)}`],
    tunnel: { backend: server, keepalive: 200, idleTimeout: 20_000 },
  });
  const isOver = (transport: string) => () => hub.hub.agents()[0]?.transport === transport;
  await eventually('QUIC', isOver('quic'));
  await stateOf(hub, port, isReady);
  const first = await dial(t, port);
  t.ok(await echoes(first, 'over QUIC'));

  relay.passes = false;
  await eventually('TLS', isOver('tls'));
  const second = await dial(t, port);
  t.ok(await echoes(second, 'over TLS'));
  t.equal(hub.hub.connections().length, 2);

  // What is said over TLS comes first.
  relay.delay = 100;
  relay.passes = true;
  await eventually('QUIC again', isOver('quic'));
  const third = await dial(t, port);
  for (const socket of [first, second, third]) t.ok(await echoes(socket, 'all three'));
  t.notOk(
    lines.some(({ event }) => event === 'agent_refused' || event === 'port_refused'),
    'nothing was refused',
  );
  await eventually('the end of new connections over TLS', () => hub.hub.links.some(({ state }) => state === 'draining'));
  t.equal(hub.lines.filter(({ event }) => event === 'withdrawn').length, 0, 'the port was never closed');
  t.equal(hub.lines.filter(({ event }) => event === 'agent_away').length, 0, 'and always led somewhere');
});

void test('what is open on the link of a killed agent is reset once the agent was started again and the link is silent', async (t) => {
  // Before the link counts as stalled, it ends in another way.
  const hub = await startHub(t, { idleTimeout: 2_400 });
  const relay = await UdpRelay.open(t, hub.settings.tunnel.listen.port);
  const port = await freePort();
  const wishes = [`${port}:127.0.0.1:${await echoServer(t)}`];
  await startAgent(t, hub, { wishes, tunnel: { backend: { host: '127.0.0.1', port: relay.port }, fallback: false } });
  await stateOf(hub, port, isReady);
  const client = await dial(t, port);
  t.ok(await echoes(client, 'hello'));
  relay.passes = false;
  await startAgent(t, hub, { wishes });
  await eventually('the new one', () => hub.hub.links.length === 2);
  t.equal(await ending(client), 'reset');
  t.match(
    hub.lines.filter(({ event }) => event === 'link_down'),
    [{ msg: /started again/ }],
  );
  t.ok(await echoes(await dial(t, port), 'hello again'));
});

function forward(socket: ReturnType<typeof connect>, port: number): void {
  const far = connect({ port, host: '127.0.0.1' });
  socket.pipe(far).pipe(socket);
  far.on('error', () => socket.destroy());
  socket.on('close', () => far.destroy());
}
