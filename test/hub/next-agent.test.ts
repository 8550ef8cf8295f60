import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type Test, test } from 'tap';
import type { LinkStream } from '../../src/link/link.ts';
import type { ResetReason } from '../../src/protocol/reset.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';
import { mapping, type RunningHub, startAgent, startHub, stateOf } from './hubs.ts';
import { converse, rawLink, REGISTER } from './raw-agent.ts';

void test('any agent will do: when one does not reach the target the next is told what the client has said', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  await hub.hub.publish(mapping(port, await echoServer(t)));
  const first = await refusingAgent(t, hub, 'first', 'hello');
  await startAgent(t, hub, { name: 'second' });
  await eventually('both agents', () => hub.hub.agents().length === 2);

  const client = await dial(t, port);
  t.ok(await echoes(client, 'hello'));
  t.strictSame(first.heard, ['hello']);
  t.match(hub.hub.connections(), [{ agent: 'second', bytesIn: 5, bytesOut: 5 }]);
  t.match(
    hub.hub.agents().map(({ name, connections }) => [name, connections]),
    [
      ['first', 0],
      ['second', 1],
    ],
  );
  t.match(await stateOf(hub, port), { refusedTotal: 0, connectionsTotal: 1, lastError: { message: 'not from here' } });
  t.match(
    hub.lines.filter(({ event }) => event === 'agent_failed'),
    [{ agent: 'first', reason: 'DIAL_REFUSED' }],
  );
});

void test('when all have refused the connection is reset, and counted once; a mapping of one agent’s asks no other', async (t) => {
  const hub = await startHub(t);
  const [any, named] = [await freePort(), await freePort()];
  const echo = await echoServer(t);
  await hub.hub.publish(mapping(any, echo));
  await hub.hub.publish(mapping(named, echo, { agent: 'first' }));
  const all = [await refusingAgent(t, hub, 'first', ''), await refusingAgent(t, hub, 'second', '')];
  t.equal(await ending(await dial(t, any)), 'reset');
  t.match(await stateOf(hub, any, ({ connections }) => connections === 0), { refusedTotal: 1, connectionsTotal: 1 });
  t.strictSame(
    all.map(({ heard }) => heard.length),
    [1, 1],
  );
  await startAgent(t, hub, { name: 'third' });
  await eventually('three agents', () => hub.hub.agents().length === 3);
  t.equal(await ending(await dial(t, named)), 'reset');
  t.ok(await echoes(await dial(t, any), 'the third'));
});

void test('UDP: the next agent is given what the client said last', async (t) => {
  const hub = await startHub(t);
  const port = await freePort();
  const echo = createSocket('udp4');
  echo.on('message', (datagram, from) => echo.send(datagram, from.port, from.address));
  await once(echo.bind(0, '127.0.0.1'), 'listening');
  const client = createSocket('udp4');
  t.teardown(() => [echo, client].map((socket) => socket.close()));
  await hub.hub.publish(mapping(port, echo.address().port, { protocol: 'udp' }));
  const first = await refusingAgent(t, hub, 'first', '');
  await startAgent(t, hub, { name: 'second' });
  await eventually('both agents', () => hub.hub.agents().length === 2);
  const answered = once(client, 'message') as Promise<[Buffer]>;
  client.send('hello', port, '127.0.0.1');
  const [answer] = await withDeadline(answered, () => 'an answer');
  t.equal(answer.toString(), 'hello');
  t.equal(first.heard.length, 1);
  t.match(hub.hub.connections(), [{ agent: 'second' }]);
});

/** An agent that offers everything on loopback and, when it has heard so much of a connection, says that it does not reach the target. */
async function refusingAgent(t: Test, hub: RunningHub, name: string, until: string): Promise<{ readonly heard: string[] }> {
  const link = await rawLink(t, hub);
  const { lines, heard: answers } = converse(link);
  const heard: string[] = [];
  const refuse = (stream: LinkStream, text: string): void => {
    heard.push(text);
    stream.reset(REFUSED, 'not from here');
  };
  link.handler = {
    ...link.handler,
    onStream: (stream) => {
      const into = new Uint8Array(100);
      let text = '';
      const onReadable = (): void => {
        for (let n = stream.read(into); n > 0; n = stream.read(into)) text += Buffer.from(into.subarray(0, n)).toString();
        if (text === until) refuse(stream, text);
      };
      stream.handler = { onReadable, onWritable() {}, onReset() {} };
      if (until === '') refuse(stream, text);
    },
  };
  lines.send({ ...REGISTER, name, instance: Buffer.from(name.padEnd(8, '.')).toString('hex') });
  await eventually('its registration', () => answers.length === 1);
  return { heard };
}

const REFUSED: ResetReason = 'DIAL_REFUSED';
