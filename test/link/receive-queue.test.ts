import { test } from 'tap';
import { ReceiveQueue } from '../../src/link/receive-queue.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

void test('bytes come out as they went in, whatever the sizes', (t) => {
  const random = seededRandom(1);
  const bytes = randomBytes(random, 2_000_000);
  const queue = new ReceiveQueue();
  const out: Uint8Array[] = [];
  for (let at = 0, read = 0; read < bytes.length;) {
    const chunk = bytes.slice(at, at + integerBetween(random, 0, 40_000));
    queue.push(chunk);
    chunk.fill(0);
    at += chunk.length;
    t.equal(queue.length, at - read);
    const into = new Uint8Array(integerBetween(random, 1, at < 1_000_000 ? 20_000 : 100_000));
    const n = queue.read(into);
    out.push(into.subarray(0, n));
    read += n;
  }
  t.ok(Buffer.concat(out).equals(bytes));
  t.equal(queue.length, 0);
  t.equal(queue.read(new Uint8Array(10)), 0);
  t.end();
});

void test('two queues keep their bytes apart, also after a clear', (t) => {
  const [one, other] = [new ReceiveQueue(), new ReceiveQueue()];
  one.push(new Uint8Array(50_000).fill(1));
  one.clear();
  t.equal(one.length, 0);
  for (let n = 0; n < 5; n++) {
    one.push(new Uint8Array(10_000).fill(1));
    other.push(new Uint8Array(10_000).fill(2));
  }
  for (const [queue, value] of [
    [one, 1],
    [other, 2],
  ] as const) {
    const into = new Uint8Array(60_000);
    t.equal(queue.read(into), 50_000);
    t.ok(into.subarray(0, 50_000).every((byte) => byte === value));
  }
  t.end();
});
