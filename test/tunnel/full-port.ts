import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';
import { eventually, withDeadline } from '../support/deadline.ts';

/** A port whose queue of connections is full, so that a further one gets no answer: Node accepts whatever comes unless it never comes to it. */
export async function fullPort(t: Test): Promise<number> {
  const child = spawn(process.execPath, ['-e', LISTEN_AND_SLEEP], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [port] = (await withDeadline(once(child.stdout, 'data'), () => 'a port')) as [Buffer];
  const fillers = Array.from({ length: QUEUE + 3 }, () => net.connect({ host: HERE, port: Number(port) }).on('error', () => {}));
  t.teardown(() => fillers.forEach((socket) => socket.destroy()));
  await eventually('the queue to be full', () => fillers.filter((socket) => !socket.connecting).length > QUEUE);
  return Number(port);
}

const HERE = '127.0.0.1';
const QUEUE = 1;
const LISTEN_AND_SLEEP = `
  const server = require('net').createServer().listen({ port: 0, host: '${HERE}', backlog: ${QUEUE} }, () => {
    require('fs').writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });`;
