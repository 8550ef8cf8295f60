import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { blocks, hashOf } from './data.mjs';

/**
 * Opens so many connections, some at once, each echoing a message of its own. Returns the times from connecting to the whole answer in
 * milliseconds, sorted.
 */
export async function echoLatencies(port, connections, atOnce) {
  const latencies = [];
  const worker = async () => {
    while (latencies.length + inFlight < connections) {
      inFlight++;
      const latency = await echoOnce(port);
      inFlight--;
      latencies.push(latency);
    }
  };
  let inFlight = 0;
  await Promise.all(Array.from({ length: atOnce }, worker));
  return latencies.toSorted((a, b) => a - b);
}

/** Sends so many megabytes and returns MB/s (10⁶ bytes). */
export async function transferUp(port, megabytes) {
  const expected = hashOf(megabytes);
  const socket = dial(port);
  const started = performance.now();
  socket.write('u');
  for (const block of blocks(megabytes)) if (!socket.write(block)) await once(socket, 'drain');
  socket.end();
  const answer = (await buffer(socket)).toString('hex');
  const seconds = (performance.now() - started) / 1000;
  if (answer !== expected) throw new Error('what arrived at the backend is not what was sent');
  return rate(megabytes, seconds);
}

/** Receives so many megabytes and returns MB/s. */
export async function transferDown(port, megabytes) {
  const expected = hashOf(megabytes);
  const socket = dial(port);
  const hash = createHash('sha256');
  const started = performance.now();
  socket.end(Buffer.from([0x64, megabytes]));
  for await (const chunk of socket) hash.update(chunk);
  const seconds = (performance.now() - started) / 1000;
  if (hash.digest('hex') !== expected) throw new Error('what arrived from the backend is not what it sent');
  return rate(megabytes, seconds);
}

async function echoOnce(port) {
  const message = randomBytes(100 + Math.floor(Math.random() * 10_000));
  const started = performance.now();
  const socket = dial(port);
  socket.write('e');
  socket.end(message);
  const answer = await buffer(socket);
  if (!answer.equals(message)) throw new Error(`an echo of ${message.length} bytes came back as ${answer.length} others`);
  return performance.now() - started;
}

function dial(port) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  socket.setTimeout(STALL_TIMEOUT_MS, () => socket.destroy(new Error(`nothing moved for ${STALL_TIMEOUT_MS / 1000} s`)));
  return socket;
}

function rate(megabytes, seconds) {
  return (megabytes * 1.048576) / seconds;
}

const STALL_TIMEOUT_MS = 15_000;
