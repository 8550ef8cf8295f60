import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type Test, test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { HandedLinks } from '../../src/supervise/handed-links.ts';
import type { LinkMessage } from '../../src/supervise/messages.ts';
import { listenTls } from '../../src/tls/listen.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { eventually } from '../support/deadline.ts';
import { connectHere, linkOptions, nextLink, serverKeys } from './pair.ts';

const OVER = new QtunnelError('LINK_CLOSED', 'The test is over.');

void test('a link’s further connections may come to another process, which carries their streams; with the link they are cut off', async (t) => {
  const [one, other] = await twoProcesses(t);
  const way = await switchedWay(t, one.address.port);
  const accepted = nextLink(one);
  const client = new LinkRecorder(await connectHere(way.port));
  const first = new LinkRecorder(await accepted);
  way.to = other.address.port;
  const branch = nextLink(other);
  // More at once than there were connections made ahead.
  const streams = Array.from({ length: 8 }, () => new StreamRecorder(client.link.open({ tag: '0000000000000001', target: '' })));
  for (const { stream } of streams) stream.write(Buffer.from('hello'));
  const second = new LinkRecorder(await branch);
  t.equal(second.link.isBranch, true);
  await eventually('all of them', () => first.accepted.length + second.accepted.length === streams.length);
  t.ok(second.accepted.length > 0);
  for (const { recorder } of [...first.accepted, ...second.accepted]) {
    await recorder.until('its bytes', () => recorder.text === 'hello');
    recorder.stream.write(Buffer.from('heard'));
  }
  for (const recorder of streams) await recorder.until('an answer', () => recorder.text === 'heard');
  first.link.close(OVER);
  await Promise.all([client.closed(), second.closed()]);
  for (const { recorder } of second.accepted) t.equal((await recorder.reset()).reason, 'LINK_LOST');
});

/** Listeners that tell each other of their links, as two processes do at an upgrade. */
async function twoProcesses(t: Test) {
  const [one, other]: [HandedLinks, HandedLinks] = [
    new HandedLinks((message) => other.handle(message as LinkMessage)),
    new HandedLinks((message) => one.handle(message as LinkMessage)),
  ];
  const listeners = [];
  for (const links of [one, other]) {
    links.startTelling();
    const directory = links.directory();
    const listener = await listenTls({ host: '127.0.0.1', port: 0 }, await serverKeys(), linkOptions(), { directory });
    t.teardown(() => listener.close());
    listeners.push(listener);
  }
  return listeners as [(typeof listeners)[0], (typeof listeners)[0]];
}

/** Passes TCP connections on to the port that `to` is when they come. */
async function switchedWay(t: Test, to: number): Promise<{ readonly port: number; to: number }> {
  const ends = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(way.to, '127.0.0.1');
    for (const end of [near, far]) ends.add(end.on('error', () => {}));
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const end of ends) end.destroy();
  });
  const way = { port: (server.address() as AddressInfo).port, to };
  return way;
}
