import { spawnSync } from 'node:child_process';
import net from 'node:net';
import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import {
  acceptor,
  dial,
  echoes,
  echoServer,
  ending,
  freePort,
  listen,
  receive,
  receiveSummed,
  sendSummed,
} from '../support/tcp.ts';
import { eventually } from '../support/deadline.ts';
import { isReady, isReset, mapping, startAgent, startHub, stateOf } from './hubs.ts';

const MODES = [
  { name: 'quic', quic: true, fallback: false },
  { name: 'tls', quic: false, fallback: false },
] as const;

for (const { name, ...mode } of MODES) {
  void test('a port that leads back to itself is not opened, and none is made so', async (t) => {
    const hub = await startHub(t, {}, { ports: { host: '', first: 10_000, last: 30_000 } });
    const [one, two] = [await freePort(), await freePort()];
    const direct = { via: 'direct' } as const;
    await t.rejects(hub.hub.publish(mapping(one, one, direct)), { code: 'MAPPING_LOOPS' });
    await hub.hub.publish(mapping(one, two, direct));
    await t.rejects(hub.hub.publish(mapping(two, one, direct)), { code: 'MAPPING_LOOPS' });
    await hub.hub.publish(mapping(two, await echoServer(t), direct));
    await t.rejects(hub.hub.republish(mapping(two, one, direct)), { code: 'MAPPING_LOOPS' });
    t.ok(await echoes(await dial(t, one), 'hello'));
  });

  void test('a limit for each client at the public ports: one more is reset, others come in, and one less makes room', async (t) => {
    const hub = await startHub(t, { maxConnectionsPerClient: 2 });
    const [one, two] = [await freePort(), await freePort()];
    const echo = await echoServer(t);
    for (const port of [one, two]) await hub.hub.publish(mapping(port, echo, { via: 'direct' }));
    const open = [await dial(t, one), await dial(t, two)];
    for (const client of open) t.ok(await echoes(client, 'hello'));
    t.ok(await isReset(t, one));
    t.match((await stateOf(hub, one)).lastError?.message, 'The client has 2 connections open (-max-connections-per-client).');
    const other = net.connect({ port: one, host: '127.0.0.1', localAddress: '127.0.0.2' });
    t.teardown(() => other.destroy());
    t.ok(await echoes(other, 'from elsewhere'));
    open[1]!.destroy();
    await stateOf(hub, two, ({ connections }) => connections === 0);
    t.ok(await echoes(await dial(t, one), 'again'));
  });

  void test(`${name}: -R opens a port of the hub that leads to the agent’s target, with half-close and counters`, async (t) => {
    const hub = await startHub(t, mode);
    const port = await freePort();
    const { port: inside, accept } = await acceptor(t);
    await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${inside}`] });
    await stateOf(hub, port, isReady);

    const client = await dial(t, port);
    const far = await accept();
    const [sent, received] = await Promise.all([sendSummed(client, 3_000_000), receiveSummed(far)]);
    t.strictSame(received, sent);
    t.match(hub.hub.connections(), [{ protocol: 'tcp', port, agent: 'box', bytesIn: 3_000_000, bytesOut: 0 }]);
    const [back, got] = await Promise.all([sendSummed(far, 1_000_000), receiveSummed(client)]);
    t.strictSame(got, back);

    const { connections, connectionsTotal, bytesIn, bytesOut, origin } = await stateOf(
      hub,
      port,
      (state) => state.connections === 0,
    );
    t.match(
      { connections, connectionsTotal, bytesIn, bytesOut, origin },
      { connectionsTotal: 1, bytesIn: 3_000_000, bytesOut: 1_000_000, origin: 'agent' },
    );
    t.match(hub.hub.agents(), [{ name: 'box', transport: name, allow: ['localhost:*'], connections: 0 }]);
  });

  void test(`${name}: a reset goes through in both directions; a target that refuses is a reset with its reason`, async (t) => {
    const hub = await startHub(t, mode);
    const [open, closed] = [await freePort(), await freePort()];
    const { port: inside, accept } = await acceptor(t);
    await startAgent(t, hub, { wishes: [`${open}:127.0.0.1:${inside}`, `${closed}:127.0.0.1:${await freePort()}`] });
    await stateOf(hub, closed, isReady);
    const [one, two] = [await dial(t, open), await dial(t, open)];
    const [first, second] = [await accept(), await accept()];
    one.resetAndDestroy();
    second.resetAndDestroy();
    const ends = await Promise.all([ending(first), ending(two)]);
    t.strictSame(ends, ['reset', 'reset']);
    t.ok(await isReset(t, closed));
    const { refusedTotal, lastError } = await stateOf(hub, closed, ({ lastError: error }) => error !== null);
    t.equal(refusedTotal, 1);
    t.match(lastError?.message, /refused the connection/);
  });
}

void test('while its agent is away a port resets; it is open again at once when the agent is back, with the same mapping', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  await hub.hub.publish(mapping(port, await echoServer(t), { agent: 'box' }));
  t.match(await stateOf(hub, port), { ready: false, problem: 'The agent box is away.' });
  t.ok(await isReset(t, port));
  const first = await startAgent(t, hub);
  await stateOf(hub, port, isReady);
  const client = await dial(t, port);
  t.ok(await echoes(client, 'hello'));
  await first.agent.close(new QtunnelError('ABORTED', 'gone'));
  t.equal(await ending(client), 'reset');
  await stateOf(hub, port, ({ ready }) => !ready);
  t.ok(await isReset(t, port));
  await startAgent(t, hub);
  await stateOf(hub, port, isReady);
  t.ok(await echoes(await dial(t, port), 'hello again'));
});

void test('of two agents of one name the one that began last has the ports; the other one waits, and follows', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const saying = (text: string) => listen(t, (socket) => void socket.write(text));
  const heard = async () => (await receive(await dial(t, port), 3)).toString();
  const one = await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${await saying('one')}`] });
  await stateOf(hub, port, isReady);
  t.equal(await heard(), 'one');
  const old = await dial(t, port);
  t.equal((await receive(old, 3)).toString(), 'one');

  const two = await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${await saying('two')}`] });
  await eventually('the first to wait', () =>
    one.lines.some(({ event, msg }) => event === 'registered' && msg.includes('another agent')),
  );
  t.equal(await heard(), 'two');
  t.equal(hub.hub.agents().length, 1);
  t.equal(old.destroyed || old.readableEnded, false, 'what was open goes on');

  // It loses its link and comes back: it has been here before, and does not take the ports back.
  one.agent.uplink.current()?.close(new QtunnelError('ABORTED', 'lost'));
  await eventually('its return', () => hub.lines.filter(({ event }) => event === 'agent_waits').length === 2);
  t.equal(await heard(), 'two');

  await two.agent.close(new QtunnelError('ABORTED', 'gone'));
  await eventually(
    'the first one’s turn',
    () => one.lines.filter(({ msg }) => msg.includes('the hub knows this agent')).length === 2,
  );
  t.equal(await heard(), 'one');
});

void test('what -R cannot have is said to the agent, and tried again: outside the ports, mapped, another program’s', async (t) => {
  const hub = await startHub(t);
  const [mapped, theirs, taken, good] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const echo = await echoServer(t);
  await listen(t, () => {}, taken);
  await hub.hub.publish(mapping(mapped, echo));
  await startAgent(t, hub, { name: 'other', wishes: [`${theirs}:127.0.0.1:${echo}`] });
  await stateOf(hub, theirs, isReady);
  const wishes = [9_999, mapped, theirs, taken, good].map((port) => `${port}:localhost:${echo}`);
  const { lines } = await startAgent(t, hub, { wishes });
  await stateOf(hub, good, isReady);
  await eventually('the refusals', () => lines.filter(({ event }) => event === 'port_refused').length === 4);
  t.match(
    lines.filter(({ event }) => event === 'port_refused').map(({ msg, ...rest }) => [(rest as { code?: string }).code, msg]),
    [
      ['PORT_OUTSIDE', /10000 to 30000/],
      ['PORT_TAKEN', /over the API/],
      ['PORT_TAKEN', /by the agent other/],
      ['LISTEN_FAILED', /another program uses it/],
    ],
  );
});

void test('what an agent asked for goes when it leaves, or asks for it no more; what it lost stays and resets, unless another agent asks', async (t) => {
  const hub = await startHub(t);
  const [kept, dropped] = [await freePort(), await freePort()];
  const echo = await echoServer(t);
  const one = await startAgent(t, hub, { wishes: [`${kept}:127.0.0.1:${echo}`, `${dropped}:127.0.0.1:${echo}`] });
  await stateOf(hub, dropped, isReady);
  (await one.agent.prepare({ ...one.settings, wishes: one.settings.wishes.slice(0, 1) })).takeEffect();
  await eventually('one port less', () => hub.hub.mappings().length === 1);
  await one.agent.close(new QtunnelError('ABORTED', 'gone'));
  await stateOf(hub, kept, ({ ready }) => !ready);
  t.ok(await isReset(t, kept));

  const two = await startAgent(t, hub, { name: 'two', wishes: [`${kept}:127.0.0.1:${echo}`] });
  await stateOf(hub, kept, isReady);
  t.equal((await stateOf(hub, kept)).mapping.agent, 'two');
  const client = await dial(t, kept);
  t.ok(await echoes(client, 'before'));
  const drained = two.agent.drain();
  await eventually('no ports', () => hub.hub.mappings().length === 0);
  t.ok(await echoes(client, 'what is open goes on'));
  client.end();
  t.equal(await drained, true);
});

void test('a port that its agent has left behind may be mapped; the agent is told so when it is back', async (t) => {
  const hub = await startHub(t);
  const [left, echo] = [await freePort(), await echoServer(t)];
  const lost = await startAgent(t, hub, { wishes: [`${left}:127.0.0.1:${echo}`] });
  await stateOf(hub, left, isReady);
  await t.rejects(hub.hub.publish(mapping(left, echo)), { code: 'PORT_TAKEN', message: /by the agent box/ });
  await lost.agent.close(new QtunnelError('ABORTED', 'gone'));
  await stateOf(hub, left, ({ ready }) => !ready);
  await hub.hub.publish(mapping(left, echo, { via: 'direct' }));
  t.match(hub.hub.mappings(), [{ origin: 'api', ready: true }]);
  t.ok(await echoes(await dial(t, left), 'its port is somebody else’s'));
  const { lines } = await startAgent(t, hub, { wishes: [`${left}:127.0.0.1:${echo}`] });
  await eventually('the refusal', () => lines.some(({ event }) => event === 'port_refused'));
  t.match(hub.hub.mappings(), [{ origin: 'api' }]);
});

void test('an agent lets through what its list has, whatever the hub asks for; names are judged by their addresses', async (t) => {
  const hub = await startHub(t);
  const echo = await echoServer(t);
  const other = await echoServer(t);
  const agent = await startAgent(t, hub, { allow: [`127.0.0.1:${echo}`] });
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const [good, byName, bad] = ports as [number, number, number];
  await eventually('the agent', () => hub.hub.agents().length === 1);
  await hub.hub.publish(mapping(good, echo));
  await hub.hub.publish(mapping(byName, echo, { target: { host: 'localhost', port: echo } }));
  await hub.hub.publish(mapping(bad, other));
  t.ok(await echoes(await dial(t, good), 'hello'));
  t.ok(await echoes(await dial(t, byName), 'hello'));
  t.match(await stateOf(hub, bad), { ready: false, problem: /No agent is here that offers 127\.0\.0\.1/ });
  t.ok(await isReset(t, bad));

  // A hub that does not care what the agent offers.
  const link = hub.hub.links[0]!;
  for (const target of [
    `tcp/127.0.0.1:${other}`,
    `tcp/[::ffff:127.0.0.1]:${other}`,
    `tcp/localhost:${other}`,
    'tcp/10.0.0.1:22',
    'nonsense',
    '',
  ]) {
    const stream = link.open({ tag: '0123456789abcdef', target, endpoints: null });
    const reason = await new Promise((resolve) => {
      stream.handler = { onReadable() {}, onWritable() {}, onReset: resolve };
    });
    t.equal(reason, 'NO_BACKEND', target);
  }
  t.ok(agent.lines.some(({ msg }) => msg.includes('-allow')));
});

void test('a direct mapping is dialled by the hub itself: bytes, half-close, resets, a target that is not there', async (t) => {
  const hub = await startHub(t);
  const [port, nowhere] = [await freePort(), await freePort()];
  const { port: target, accept } = await acceptor(t);
  await hub.hub.publish(mapping(port, target, { via: 'direct' }));
  await hub.hub.publish(mapping(nowhere, await freePort(), { via: 'direct' }));
  const ended: unknown[] = [];
  hub.hub.onConnectionEnd((connection) => ended.push(connection));
  const client = await dial(t, port);
  const far = await accept();
  const both = await Promise.all([sendSummed(client, 20_000_000), receiveSummed(far)]);
  t.strictSame(both[0], both[1]);
  const back = await Promise.all([sendSummed(far, 20_000_000), receiveSummed(client)]);
  t.strictSame(back[0], back[1]);
  await stateOf(
    hub,
    port,
    ({ connections, bytesIn, bytesOut }) => connections === 0 && bytesIn === 20_000_000 && bytesOut === 20_000_000,
  );
  t.match(ended, [{ port, agent: '', bytesIn: 20_000_000, bytesOut: 20_000_000 }]);

  const [one, two] = [await dial(t, port), await dial(t, port)];
  const [first, second] = [await accept(), await accept()];
  one.resetAndDestroy();
  second.resetAndDestroy();
  t.strictSame(await Promise.all([ending(first), ending(two)]), ['reset', 'reset']);
  t.ok(await isReset(t, nowhere));
  t.match((await stateOf(hub, nowhere, ({ lastError }) => lastError !== null)).lastError?.message, /refused the connection/);
});

void test('a direct mapping whose target does not read holds the client back, and goes on when it does', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const { port: target, accept } = await acceptor(t);
  await hub.hub.publish(mapping(port, target, { via: 'direct' }));
  const client = await dial(t, port);
  const far = await accept();
  far.pause();
  const sum = sendSummed(client, 50_000_000);
  await eventually('the client to be held back', () => client.writableNeedDrain);
  t.ok((await stateOf(hub, port)).bytesIn < 50_000_000);
  t.strictSame(await receiveSummed(far), await sum);
});

void test('only clients of the networks may connect; bandwidth counts for all connections of a mapping together', async (t) => {
  const hub = await startHub(t);
  const [closed, open, slow] = [await freePort(), await freePort(), await freePort()];
  const echo = await echoServer(t);
  await hub.hub.publish(mapping(closed, echo, { via: 'direct', allow: ['192.0.2.0/24', '2001:db8::/32'] }));
  await hub.hub.publish(mapping(open, echo, { via: 'direct', allow: ['127.0.0.0/8'] }));
  await hub.hub.publish(mapping(slow, echo, { via: 'direct', bandwidth: 50_000 }));
  t.ok(await isReset(t, closed));
  t.ok(await echoes(await dial(t, open), 'hello'));
  t.match(await stateOf(hub, closed), { refusedTotal: 1, connectionsTotal: 0 });
  const client = await dial(t, slow);
  client.write(Buffer.alloc(1_000_000));
  await receive(client, 20_000);
  t.ok((await stateOf(hub, slow)).bytesIn < 500_000, 'most of it waits for its turn');
});

void test('a client that has reset its connection before the hub looks at it has no address, and is in no network', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  await hub.hub.publish(mapping(port, await echoServer(t), { via: 'direct', allow: ['127.0.0.0/8'] }));
  const gone = `require('node:net').connect(${port}, '127.0.0.1').on('connect', function () { this.resetAndDestroy(); })`;
  // This thread, and the hub with it, waits for that process.
  t.equal(spawnSync(process.execPath, ['-e', gone]).status, 0);
  t.match(await stateOf(hub, port, ({ refusedTotal }) => refusedTotal === 1), { connections: 0, connectionsTotal: 0 });
  t.ok(await echoes(await dial(t, port), 'hello'));
});

void test('another mapping in the place of one: what is open goes on, but for clients that may not connect any more', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const saying = (text: string) => listen(t, (socket) => void socket.write(text));
  const first = mapping(port, await saying('one'), { via: 'direct' });
  await hub.hub.publish(first);
  const open = await dial(t, port);
  t.equal((await receive(open, 3)).toString(), 'one');
  const second = { ...first, target: { host: '127.0.0.1', port: await saying('two') }, allow: ['127.0.0.0/8'] };
  t.equal(await hub.hub.republish(second), true);
  const other = await dial(t, port);
  t.equal((await receive(other, 3)).toString(), 'two');
  t.equal(hub.hub.connections().length, 2);
  t.equal(await hub.hub.republish({ ...second, allow: ['192.0.2.0/24'] }), true);
  t.strictSame(await Promise.all([open, other].map(ending)), ['reset', 'reset']);
  t.ok(await isReset(t, port));
  t.equal(await hub.hub.republish(mapping(await freePort(), 1)), false);
});

void test('publish and withdraw: each refusal with its code, nothing half-made, the port free afterwards', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const echo = await echoServer(t);
  await hub.hub.publish(mapping(port, echo, { via: 'direct' }));
  await t.rejects(hub.hub.publish(mapping(port, echo)), { code: 'PORT_TAKEN' });
  await t.rejects(hub.hub.publish(mapping(9_999, echo)), { code: 'PORT_OUTSIDE' });
  await t.rejects(hub.hub.publish(mapping(await freePort(), echo, { allow: ['nonsense'] })), { code: 'CONFIG_INVALID' });
  const taken = await freePort();
  await listen(t, () => {}, taken);
  await t.rejects(hub.hub.publish(mapping(taken, echo)), { code: 'LISTEN_FAILED' });
  t.equal(hub.hub.mappings().length, 1);
  const client = await dial(t, port);
  t.ok(await echoes(client, 'hello'));
  t.equal(await hub.hub.withdraw('tcp', port), true);
  t.equal(await ending(client), 'reset');
  t.equal(await hub.hub.withdraw('tcp', port), false);
  await listen(t, () => {}, port);
});
