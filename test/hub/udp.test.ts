import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type Test, test } from 'tap';
import { eventually, withDeadline } from '../support/deadline.ts';
import { loadLibc } from '../../src/udp/libc.ts';
import { freePort } from '../support/tcp.ts';
import { MODES } from '../tunnel/tunnels.ts';
import { missingRawSockets, sendFromPortZero } from '../support/raw-udp.ts';
import { isReady, mapping, startAgent, startHub, stateOf } from './hubs.ts';

/** A UDP socket of this test. */
async function udpSocket(t: Test, host = '127.0.0.1'): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  t.teardown(() => socket.close());
  await once(socket.bind(0, host), 'listening');
  return socket;
}

/** A UDP service that answers with what it gets. */
async function udpEcho(t: Test): Promise<number> {
  const socket = await udpSocket(t);
  socket.on('message', (datagram, { port, address }) => socket.send(datagram, port, address));
  return socket.address().port;
}

async function answer(client: Socket, port: number, datagram: Buffer): Promise<Buffer> {
  const answered = once(client, 'message') as Promise<[Buffer]>;
  client.send(datagram, port, '127.0.0.1');
  return (await withDeadline(answered, () => `an answer from UDP port ${port}`))[0];
}

function sum(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

for (const { name, ...mode } of MODES) {
  void test(`${name}: -R PORT:HOST:PORT/udp: datagrams of every size whole and apart, each client its own conversation`, async (t) => {
    const hub = await startHub(t, mode);
    const port = await freePort();
    await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${await udpEcho(t)}/udp`] });
    await stateOf(hub, port, isReady);
    const [one, two] = [await udpSocket(t), await udpSocket(t)];
    for (const size of [1, 0, 500, 1_200, 1_472, 1_500, 9_000, 65_507]) {
      const datagram = randomBytes(size);
      t.equal(sum(await answer(one, port, datagram)), sum(datagram), `${size} bytes`);
    }
    t.equal((await answer(two, port, Buffer.from('two'))).toString(), 'two');
    t.match(await stateOf(hub, port), { connections: 2, origin: 'agent', mapping: { protocol: 'udp' } });
    t.match(hub.hub.connections(), [
      { protocol: 'udp', agent: 'box', peer: `127.0.0.1:${one.address().port}` },
      { protocol: 'udp', bytesIn: 3, bytesOut: 3, peer: `127.0.0.1:${two.address().port}` },
    ]);
    await hub.hub.withdraw('udp', port);
    t.strictSame(hub.hub.connections(), []);
  });
}

void test('a conversation of which nobody says anything is over, on both sides; the next datagram begins another', async (t) => {
  const hub = await startHub(t, {}, { udpTimeout: 400 });
  const port = await freePort();
  const { agent } = await startAgent(t, hub, { wishes: [`${port}:127.0.0.1:${await udpEcho(t)}/udp`] });
  await stateOf(hub, port, isReady);
  const client = await udpSocket(t);
  t.equal((await answer(client, port, Buffer.from('a'))).toString(), 'a');
  await stateOf(hub, port, ({ connections }) => connections === 0);
  await eventually('the agent’s end', () => agent.connections === 0);
  t.equal((await answer(client, port, Buffer.from('b'))).toString(), 'b');
  t.match(await stateOf(hub, port), { connectionsTotal: 2 });
});

void test('a direct UDP mapping, networks, and a target where nobody listens', async (t) => {
  const hub = await startHub(t);
  const [open, closed, nowhere] = [await freePort(), await freePort(), await freePort()];
  const udp = { protocol: 'udp', via: 'direct' } as const;
  const echo = await udpEcho(t);
  await hub.hub.publish(mapping(open, echo, udp));
  await hub.hub.publish(mapping(closed, echo, { ...udp, allow: ['192.0.2.0/24'] }));
  await hub.hub.publish(mapping(nowhere, await freePort(), udp));
  const client = await udpSocket(t);
  const datagram = randomBytes(65_507);
  t.equal(sum(await answer(client, open, datagram)), sum(datagram));
  client.send('x', closed, '127.0.0.1');
  t.match(await stateOf(hub, closed, ({ refusedTotal }) => refusedTotal > 0), { connections: 0, connectionsTotal: 0 });
  client.send('x', nowhere, '127.0.0.1');
  t.match((await stateOf(hub, nowhere, ({ lastError }) => lastError !== null)).lastError?.message, /ECONNREFUSED/);
  await t.rejects(hub.hub.publish(mapping(open, echo, udp)), { code: 'PORT_TAKEN' });
  await hub.hub.publish(mapping(open, echo, { via: 'direct' }));
  t.equal(hub.hub.mappings().length, 4, 'TCP and UDP of one number are two ports');
  const taken = (await udpSocket(t)).address().port;
  const wide = await startHub(t, {}, { ports: { host: '127.0.0.1', first: 1_024, last: 65_535 } });
  await t.rejects(wide.hub.publish(mapping(taken, echo, udp)), { code: 'LISTEN_FAILED', message: /another program uses it/ });
});

void test('a target to which the system sends nothing: each datagram is a conversation that fails, and the hub goes on', async (t) => {
  const hub = await startHub(t);
  const [nowhere, open] = [await freePort(), await freePort()];
  // `connect` is refused for a broadcast address (EACCES).
  const target = { host: '255.255.255.255', port: 9 };
  await hub.hub.publish({ ...mapping(nowhere, 9, { protocol: 'udp', via: 'direct' }), target });
  await hub.hub.publish(mapping(open, await udpEcho(t), { protocol: 'udp', via: 'direct' }));
  const client = await udpSocket(t);
  for (const total of [1, 2]) {
    client.send('x', nowhere, '127.0.0.1');
    const { lastError } = await stateOf(
      hub,
      nowhere,
      ({ connections, connectionsTotal }) => connections === 0 && connectionsTotal === total,
    );
    t.match(lastError?.message, /cannot be reached over UDP \(EACCES\)/);
  }
  t.equal((await answer(client, open, Buffer.from('still here'))).toString(), 'still here');
});

void test('a datagram from port 0, to which no answer can go, begins nothing', { skip: missingRawSockets() }, async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  await hub.hub.publish(mapping(port, await udpEcho(t), { protocol: 'udp', via: 'direct' }));
  sendFromPortZero(port, Buffer.from('nobody'));
  const client = await udpSocket(t);
  t.equal((await answer(client, port, Buffer.from('somebody'))).toString(), 'somebody');
  t.match(await stateOf(hub, port), { connectionsTotal: 1 });
});

const needsBatches = { skip: loadLibc() === null && 'UDP in batches cannot be had here' };

void test('a port on all addresses answers from the one that was asked', needsBatches, async (t) => {
  for (const host of ['', '0.0.0.0']) {
    const hub = await startHub(t, {}, { ports: { host, first: 10_000, last: 30_000 } });
    const port = await freePort();
    await hub.hub.publish(mapping(port, await udpEcho(t), { protocol: 'udp', via: 'direct' }));
    for (const asked of ['127.0.0.2', '127.0.0.3', '127.0.0.1']) {
      const client = await udpSocket(t);
      client.connect(port, asked);
      await once(client, 'connect');
      const answered = once(client, 'message') as Promise<[Buffer]>;
      client.send('who is it');
      t.equal((await withDeadline(answered, () => `an answer from ${asked}`))[0].toString(), 'who is it', asked);
    }
    t.match(await stateOf(hub, port), { connectionsTotal: 3 });
  }
});

void test('clients without an end: a port remembers no more of them than -max-connections, and no more than 1,024: the latest', async (t) => {
  const hub = await startHub(t, { maxConnections: 20 });
  const port = await freePort();
  await hub.hub.publish(mapping(port, await udpEcho(t), { protocol: 'udp', via: 'direct' }));
  const clients = await Promise.all(Array.from({ length: 25 }, () => udpSocket(t)));
  for (const client of clients) await answer(client, port, Buffer.from('x'));
  t.match(await stateOf(hub, port), { connections: 20, connectionsTotal: 25 });
});

void test('a client has no more conversations than -max-connections-per-client: its latest', async (t) => {
  const hub = await startHub(t, { maxConnectionsPerClient: 3 });
  const port = await freePort();
  await hub.hub.publish(mapping(port, await udpEcho(t), { protocol: 'udp', via: 'direct' }));
  await answer(await udpSocket(t, '127.0.0.2'), port, Buffer.from('x'));
  const own = await Promise.all(Array.from({ length: 5 }, () => udpSocket(t)));
  for (const client of own) await answer(client, port, Buffer.from('x'));
  t.match(await stateOf(hub, port), { connections: 4, connectionsTotal: 6 });
  t.strictSame(
    hub.hub
      .connections()
      .map(({ peer }) => Number(peer.split(':')[1]))
      .slice(1),
    own.slice(2).map((client) => client.address().port),
  );
});

void test('a port that is full: who may not come in takes nobody’s place, and one address with many clients only its own', async (t) => {
  const hub = await startHub(t, { maxConnections: 20 });
  const port = await freePort();
  const open = { protocol: 'udp', via: 'direct', allow: ['127.0.0.1', '127.0.0.2'] } as const;
  await hub.hub.publish(mapping(port, await udpEcho(t), open));
  const say = async (count: number, host: string): Promise<void> => {
    for (let n = 0; n < count; n++) await answer(await udpSocket(t, host), port, Buffer.from('x'));
  };
  await say(4, '127.0.0.2');
  await say(30, '127.0.0.1');
  const stranger = await udpSocket(t, '127.0.0.3');
  for (let n = 0; n < 5; n++) stranger.send('x', port, '127.0.0.1');
  await stateOf(hub, port, ({ refusedTotal }) => refusedTotal === 5);
  const hosts = hub.hub.connections().map(({ peer }) => peer.split(':')[0]);
  t.equal(hosts.filter((host) => host === '127.0.0.2').length, 4);
  t.equal(hosts.filter((host) => host === '127.0.0.1').length, 16);
});
