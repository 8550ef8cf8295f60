import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { test } from 'tap';
import type { Test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { openDescriptors, residentBytes } from '../support/processes.ts';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import { acceptor, dial, echoes, echoServer, receiveAll } from '../support/tcp.ts';

const AT_ONCE = 1000;
const HALF_CLOSED = 300;
const STALLED = 100;
const ONE_AFTER_ANOTHER = 5_000;
const WARM_UP = 1000;
/** What the heap may differ by for reasons of its own. 5,000 connections that each left 16 KB behind would exceed it; `npm run reliability churn` looks closer. */
const RSS_GROWTH_LIMIT = 80 * 1024 * 1024;

for (const mode of MODES) {
  test(`${mode}: 1,000 connections at once all echo, several times`, async (t) => {
    const { port } = await startTunnel(t, mode, await echoServer(t));
    const sockets = await Promise.all(Array.from({ length: AT_ONCE }, () => dial(t, port)));
    for (const round of ['one', 'two', 'three'])
      t.ok(
        (await Promise.all(sockets.map((socket, index) => echoes(socket, `${round} ${index}`)))).every(Boolean),
        `round ${round}`,
      );
    t.ok((await Promise.all(sockets.map(endsWell))).every(Boolean), 'all end with FIN');
  });

  test(`${mode}: connections that say all and half close at once get everything back, many at a time`, async (t) => {
    const { port } = await startTunnel(t, mode, await echoServer(t));
    const answers = await Promise.all(
      Array.from({ length: HALF_CLOSED }, async (_, index) => {
        const message = randomBytes(1 + index * 1000);
        const socket = await dial(t, port);
        socket.end(message);
        return (await receiveAll(socket)).equals(message);
      }),
    );
    t.equal(answers.filter(Boolean).length, HALF_CLOSED);
  });

  test(`${mode}: short connections one after another leave descriptors and memory where they were`, async (t) => {
    const { port, server, client } = await startTunnel(t, mode, await echoServer(t), QUIET);
    const pids = [server.process.pid, client.process.pid];
    await shortConnections(t, port, WARM_UP);
    const before = pids.map(openDescriptors);
    const rssBefore = pids.map((pid) => residentBytes([pid]));

    await shortConnections(t, port, ONE_AFTER_ANOTHER);

    const settled = () => pids.every((pid, index) => openDescriptors(pid) <= before[index]! + SPARE_DESCRIPTORS);
    await eventually(`descriptors ${pids.map(openDescriptors).join(', ')} as before: ${before.join(', ')}`, settled);
    pids.forEach((pid, index) => {
      const growth = residentBytes([pid]) - rssBefore[index]!;
      t.ok(growth < RSS_GROWTH_LIMIT, `${index === 0 ? 'server' : 'client'} grew by ${(growth / 2 ** 20).toFixed(1)} MB`);
    });
    t.ok(await echoes(await dial(t, port), 'still there'));
  });

  test(`${mode}: 100 stalled readers do not hurt a fresh connection, and memory stays bounded`, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const { port, server, client } = await startTunnel(t, mode, backend, {
      serverFlags: ['-buffer=256K'],
      clientFlags: ['-buffer=256K'],
    });
    const pids = [server.process.pid, client.process.pid];
    const before = pids.map((pid) => residentBytes([pid]));
    const block = Buffer.alloc(256 * 1024);
    for (let index = 0; index < STALLED; index++) {
      const application = await dial(t, port);
      (await accept()).pause();
      for (let blocks = 0; blocks < 64; blocks++) application.write(block);
    }
    const [fresh, service] = [await dial(t, port), await accept()];
    service.pipe(service);
    t.ok(await echoes(fresh, Buffer.alloc(1024 * 1024, 'x')));
    pids.forEach((pid, index) => {
      const growth = (residentBytes([pid]) - before[index]!) / 2 ** 20;
      t.ok(growth < STALLED * 2, `grew by ${growth.toFixed(1)} MB for ${STALLED} streams of 256 KB with 16 MB waiting each`);
    });
  });
}

const QUIET = { serverFlags: ['-log-level=info'], clientFlags: ['-log-level=info'] };

/** TCP mode keeps a pool of connections warm, whose number is not always the same. */
const SPARE_DESCRIPTORS = 16;

async function shortConnections(t: Test, port: number, count: number): Promise<void> {
  let wrong = 0;
  for (let index = 0; index < count; index++) {
    const socket = await dial(t, port);
    if (!(await echoes(socket, `connection ${index}`)) || !(await endsWell(socket))) wrong++;
  }
  t.equal(wrong, 0, `${count} connections echo`);
}

async function endsWell(socket: Socket): Promise<boolean> {
  socket.end();
  return (await receiveAll(socket)).length === 0;
}
