import { test } from 'tap';
import { ReceiveQueue } from '../../src/tls/receive-queue.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

void test('bytes come out as they went in, whatever the sizes', (t) => {
  const random = seededRandom(1);
  const bytes = randomBytes(random, 200_000);
  const queue = new ReceiveQueue();
  const out: Uint8Array[] = [];
  for (let at = 0, read = 0; read < bytes.length;) {
    const chunk = bytes.subarray(at, at + integerBetween(random, 1, 300));
    if (chunk.length > 0) queue.push(chunk);
    at += chunk.length;
    const into = new Uint8Array(integerBetween(random, 1, at < 100_000 ? 200 : 2000));
    const n = queue.read(into);
    out.push(into.subarray(0, n));
    read += n;
  }
  t.ok(Buffer.concat(out).equals(bytes));
  t.ok(queue.isEmpty);
  t.equal(queue.cost, 0);
  t.equal(queue.read(new Uint8Array(10)), 0);
  t.end();
});

void test('single bytes cost more than a byte', (t) => {
  const queue = new ReceiveQueue();
  for (let n = 0; n < 100; n++) queue.push(new Uint8Array(1));
  t.ok(queue.cost > 10_000);
  queue.clear();
  t.equal(queue.cost, 0);
  t.ok(queue.isEmpty);
  t.end();
});
