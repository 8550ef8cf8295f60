import { test } from 'tap';
import { CONTROL_TARGET } from '../../src/hub/registration.ts';
import { encodeEndpoints, proxyHeader } from '../../src/protocol/proxy-protocol.ts';
import { eventually } from '../support/deadline.ts';
import { acceptor, dial, echoServer, freePort, receive } from '../support/tcp.ts';
import { clientEntry, MODES, OVER, server } from '../tunnel/tunnels.ts';
import { isReady, startAgent, startHub, stateOf } from './hubs.ts';
import { converse, rawLink, REGISTER, REQUEST } from './raw-agent.ts';

void test('what an agent says of itself is checked field by field; the refusal names the field, and ends the conversation', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const wish = { protocol: 'tcp', port, target: '127.0.0.1:22' };
  const bad: [change: object, where: RegExp][] = [
    [{ type: 'regster' }, /type/],
    [{ name: '' }, /name/],
    [{ name: 'a b' }, /name/],
    [{ name: 'x'.repeat(65) }, /name/],
    [{ name: null }, /name/],
    [{ instance: '0123456789ABCDEF' }, /instance/],
    [{ fresh: 'yes' }, /fresh/],
    [{ version: 0 }, /version/],
    [{ allow: ['everything'] }, /allow.*such as 127\.0\.0\.1:22/],
    [{ allow: Array.from({ length: 257 }, () => '127.0.0.1:1') }, /allow/],
    [{ publish: [{ ...wish, port: 0 }] }, /publish\.0\.port/],
    [{ publish: [{ ...wish, port: 65_536 }] }, /publish\.0\.port/],
    [{ publish: [{ ...wish, protocol: 'sctp' }] }, /publish\.0\.protocol/],
    [{ publish: [wish, { ...wish, target: 'host' }] }, /publish\.1\.target/],
    [{ publish: Array.from({ length: 501 }, () => wish) }, /publish/],
  ];
  const link = await rawLink(t, hub);
  for (const message of [...bad.map(([change]) => ({ ...REGISTER, ...change })), [], 'register', null, 5]) {
    const { lines, heard, isOver } = converse(link);
    lines.send(message as object);
    await eventually('the end', isOver);
    const expected =
      bad.find(([change]) => JSON.stringify(message) === JSON.stringify({ ...REGISTER, ...change }))?.[1] ?? /not understood/;
    t.match(heard, [{ type: 'refused', code: 'AGENT_REFUSED', message: expected }], JSON.stringify(message)?.slice(0, 100));
  }
  t.strictSame(hub.hub.agents(), []);
  t.strictSame(hub.hub.mappings(), []);
});

void test('fields of a later version are ignored; a second control stream and any other stream are refused; leaving gives the ports back', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const link = await rawLink(t, hub);
  const { lines, heard, isOver } = converse(link);
  const publish = [{ protocol: 'tcp', port, target: '127.0.0.1:22', later: 1 }];
  lines.send({ ...REGISTER, version: 2, later: { x: 1 }, publish });
  await eventually('an answer', () => heard.length === 1);
  t.match(heard, [{ type: 'registered', state: 'active', holder: '', problems: [] }]);
  t.match(hub.hub.mappings(), [{ mapping: { port, agent: 'box' }, ready: true }]);
  for (const [target, reason] of [
    [CONTROL_TARGET, 'PROTOCOL'],
    ['', 'NO_BACKEND'],
    ['tcp/127.0.0.1:22', 'NO_BACKEND'],
  ] as const) {
    const stream = link.open({ ...REQUEST, target });
    t.equal(
      await new Promise((resolve) => (stream.handler = { onReadable() {}, onWritable() {}, onReset: resolve })),
      reason,
      target,
    );
  }
  lines.send({ type: 'leave' });
  await eventually('the end', isOver);
  t.strictSame([hub.hub.mappings(), hub.hub.agents()], [[], []]);
});

void test('who has a name: another link of its own takes over, a stranger to the hub waits, and follows when the link is lost', async (t) => {
  const hub = await startHub(t);
  const [first, second, third] = [await rawLink(t, hub), await rawLink(t, hub), await rawLink(t, hub)];
  const [one, two, other] = [converse(first), converse(second), converse(third)];
  one.lines.send(REGISTER);
  await eventually('the first', () => one.heard.length === 1);
  two.lines.send({ ...REGISTER, fresh: false });
  await eventually('the second link', () => two.heard.length === 1);
  t.match(two.heard, [{ state: 'active' }]);
  t.equal(hub.hub.agents()[0]?.link, second.id);
  other.lines.send({ ...REGISTER, fresh: false, instance: 'fedcba9876543210' });
  await eventually('the other', () => other.heard.length === 1);
  t.match(other.heard, [{ state: 'waiting', holder: hub.hub.agents()[0]?.peer }]);
  one.lines.end();
  second.close(OVER);
  await eventually('its turn', () => other.heard.length === 2);
  t.match(other.heard[1], { state: 'active' });
  t.equal(hub.hub.agents()[0]?.link, third.id);
});

void test('an agent that registers without end has to wait, and others do not', async (t) => {
  const hub = await startHub(t);
  const { lines, heard } = converse(await rawLink(t, hub));
  const many = 1_000;
  for (let n = 0; n < many; n++) lines.send({ ...REGISTER, name: `box-${n}` });
  await startAgent(t, hub, { name: 'patient' });
  await eventually('the other agent', () => hub.hub.agents().some(({ name }) => name === 'patient'));
  await eventually('an answer', () => heard.length >= 10);
  t.ok(heard.length < many / 10, `${heard.length} answers`);
});

void test('an agent that is told another name by SIGHUP has that, with its ports, over the same link', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const { agent, settings, lines } = await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${await echoServer(t)}`] });
  await stateOf(hub, port, isReady);
  (await agent.prepare({ ...settings, name: 'other' })).takeEffect();
  await stateOf(hub, port, ({ ready, mapping }) => ready && mapping.agent === 'other');
  t.strictSame(
    hub.hub.agents().map(({ name }) => name),
    ['other'],
  );
  t.equal(hub.hub.links.length, 1);
  t.notOk(lines.some(({ event }) => event === 'agent_refused'));
});

void test('a server that is no hub says so, and is asked again later', async (t) => {
  const plain = await server(t, { quic: false });
  const { lines } = await startAgent(t, { settings: { tunnel: { ...plain.tunnel.settings, listen: plain.tunnel.address } } });
  await eventually('the refusal', () => lines.some(({ event }) => event === 'agent_refused'));
  t.match(
    lines.find(({ event }) => event === 'agent_refused'),
    { code: 'AGENT_REFUSED', msg: /no hub/ },
  );
});

void test('a named client is an agent of its own name and no other', async (t) => {
  const hub = await startHub(t, { clients: [clientEntry('laptop'), clientEntry('phone')] });
  const port = await freePort();
  const tunnel = { clientName: 'laptop', secret: 'of laptop' };
  const thief = await startAgent(t, hub, { name: 'phone', tunnel });
  await eventually('the refusal', () => thief.lines.some(({ event }) => event === 'agent_refused'));
  t.match(
    thief.lines.find(({ event }) => event === 'agent_refused'),
    { code: 'AGENT_REFUSED', msg: /laptop has that name too, not phone/ },
  );
  await startAgent(t, hub, { name: 'laptop', tunnel, wishes: [`${port}:127.0.0.1:${await echoServer(t)}`] });
  await stateOf(hub, port, isReady);
  t.strictSame(
    hub.hub.agents().map(({ name }) => name),
    ['laptop'],
  );
});

for (const { name, ...mode } of MODES)
  void test(`${name}: with -proxy-protocol the target reads the client’s address before the first byte`, async (t) => {
    const hub = await startHub(t, mode);
    const port = await freePort();
    const { port: inside, accept } = await acceptor(t);
    await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${inside}`], tunnel: { proxyProtocol: true } });
    await stateOf(hub, port, isReady);
    const client = await dial(t, port);
    client.write('hello');
    const here = { host: '127.0.0.1', port: client.localPort! };
    const header = Buffer.from(proxyHeader(encodeEndpoints(here, { host: '127.0.0.1', port })));
    const got = await receive(await accept(), header.length + 5);
    t.equal(got.toString('hex'), `${header.toString('hex')}${Buffer.from('hello').toString('hex')}`);
  });
