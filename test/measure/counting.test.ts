import { setMaxListeners } from 'node:events';
import net from 'node:net';
import { type Test, test } from 'tap';
import { startBackend } from '../../src/measure/backend.ts';
import { measureLatency } from '../../src/measure/latency.ts';
import { measureReliability } from '../../src/measure/reliability.ts';
import { measureThroughput } from '../../src/measure/throughput.ts';
import { encodeReport, requestLine } from '../../src/measure/wire.ts';
import { listen } from '../support/tcp.ts';
import { GO_ON, pathTo } from './paths.ts';

const ignore = (): void => {};

/** A far end that is none of ours: `serve` is given each connection, its number, and its bytes without the request line. */
function farEnd(t: Test, serve: (socket: net.Socket, connection: number, bytes: Buffer) => void): Promise<number> {
  let connections = 0;
  return listen(t, (socket) => {
    const connection = connections++;
    let request = requestLine('echo').length;
    let asked = false;
    socket.on('data', (chunk: Buffer) => {
      if (!asked) request = chunk.indexOf('\n') + 1;
      serve(socket, connection, asked ? chunk : chunk.subarray(request));
      asked = true;
    });
    socket.on('end', () => socket.end());
  });
}

test('transfers: whole, with other bytes, cut short, reset and refused are told apart', async (t) => {
  const port = await farEnd(t, (socket, connection, bytes) => {
    const kind = connection % 4;
    if (kind === 0) socket.write(bytes);
    if (kind === 1) socket.write(bytes.map((byte) => byte ^ 1));
    if (kind === 2) socket.end(bytes.subarray(1));
    if (kind === 3) socket.resetAndDestroy();
  });
  // Of 50 connections 10 are refused, and 40 reach the far end, ten of each kind.
  let last = 0;
  const found = await measureReliability(
    pathTo(port, (connection) => connection % 5 === 4),
    50,
    GO_ON,
    (over) => (last = over),
  );
  t.match(found, { path: 'direct', transfers: 50, whole: 10, wrong: 10, failed: 30, skipped: 0 });
  t.equal(last, 50);
  t.equal(found.reasons['ECONNREFUSED'], 10);
  t.equal(
    Object.values(found.reasons).reduce((sum, count) => sum + count, 0),
    30,
  );
  t.ok(found.bytes >= 10 * 64);
});

test('transfers through the real far end are whole', async (t) => {
  const backend = await startBackend(null);
  t.teardown(() => backend.close());
  t.match(await measureReliability(pathTo(backend.port), 40, GO_ON, ignore), { whole: 40, wrong: 0, failed: 0, reasons: {} });
});

test('transfers that a signal stops are neither whole nor failed', async (t) => {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const port = await farEnd(t, () => stop.abort());
  const found = await measureReliability(pathTo(port), 30, stop.signal, ignore);
  t.match(found, { whole: 0, wrong: 0, failed: 0, skipped: 30 });
});

test('down: what has arrived counts, once; a connection that ends is one that failed', async (t) => {
  const port = await farEnd(t, (socket, connection) => {
    socket.write(Buffer.alloc(1_000_000));
    if (connection === 2) socket.end();
  });
  const plan = { direction: 'down', connections: 4, writeSize: 65_536, seconds: 2 } as const;
  const found = await measureThroughput(
    pathTo(port, (connection) => connection === 0),
    plan,
    GO_ON,
    ignore,
  );
  t.match(found, { path: 'direct', direction: 'down', connections: 4, failed: 2, bytes: 3_000_000 });
  t.ok(found.seconds > 0);
  t.equal(found.bytesPerSecond > 0, true);
});

test('up: what counts is what the far end says has arrived, by its clock', async (t) => {
  const began = new Map<net.Socket, number>();
  const port = await farEnd(t, (socket, connection) => {
    if (began.has(socket)) return;
    began.set(socket, connection);
    // From 1000 ms to 3000 ms on the far end's clock, 5 MB on each of two connections; reports in pieces, and two in one.
    const reports = [
      { time: 1000 + connection, bytes: 0 },
      { time: 2000, bytes: 4_000_000 },
      { time: 3000 - connection, bytes: 5_000_000 },
    ];
    const bytes = Buffer.concat(reports.map(encodeReport));
    socket.write(bytes.subarray(0, 7));
    setImmediate(() => socket.write(bytes.subarray(7)));
  });
  const plan = { direction: 'up', connections: 2, writeSize: 1000, seconds: 2 } as const;
  t.match(await measureThroughput(pathTo(port), plan, GO_ON, ignore), {
    failed: 0,
    bytes: 10_000_000,
    seconds: 2,
    bytesPerSecond: 5_000_000,
  });
});

test('up and down through the real far end bring bytes over every connection', async (t) => {
  const backend = await startBackend(null);
  t.teardown(() => backend.close());
  for (const direction of ['up', 'down'] as const) {
    for (const writeSize of [64, 1 << 20]) {
      const plan = { direction, connections: 3, writeSize, seconds: 0.3 };
      const found = await measureThroughput(pathTo(backend.port), plan, GO_ON, ignore);
      t.match(found, { direction, connections: 3, writeSize, failed: 0 });
      t.ok(found.bytes > 0, `${direction} by ${writeSize}`);
    }
  }
});

test('when no connection comes about the measurement is over at once', async (t) => {
  const plan = { direction: 'down', connections: 3, writeSize: 65_536, seconds: 3600 } as const;
  const nowhere = pathTo(1, () => true);
  t.match(await measureThroughput(nowhere, plan, GO_ON, ignore), { failed: 3, bytes: 0, seconds: 0, bytesPerSecond: 0 });
  t.match(await measureLatency(nowhere, { size: 64, seconds: 3600 }, GO_ON, ignore), { size: 64, roundTrip: null });
});

test('latency: every round trip but the first counts, and only when all of the message is back', async (t) => {
  let trips = 0;
  const port = await farEnd(t, (socket, _connection, bytes) => {
    // Back in two pieces; after 21 messages of 10 bytes the far end leaves.
    for (let index = 0; index < bytes.length; index += 10) {
      socket.write(bytes.subarray(index, index + 4));
      socket.write(bytes.subarray(index + 4, index + 10));
      if (++trips === 21) socket.end();
    }
  });
  const { roundTrip } = await measureLatency(pathTo(port), { size: 10, seconds: 3600 }, GO_ON, ignore);
  t.equal(roundTrip?.count, 20);
  t.ok(roundTrip!.p50 <= roundTrip!.p99 && roundTrip!.p99 <= roundTrip!.max);
});
