import { test } from 'tap';
import { DatagramCutter, DatagramJoiner, MAX_DATAGRAM } from '../../src/protocol/datagrams.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };
type Whole = { stream: number; bytes: Uint8Array };

function joiner(): { joiner: DatagramJoiner; whole: Whole[] } {
  const whole: Whole[] = [];
  return { joiner: new DatagramJoiner((stream, bytes) => void whole.push({ stream, bytes: Uint8Array.from(bytes) })), whole };
}

function partsOf(cutter: DatagramCutter, stream: number, datagram: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  cutter.cut(stream, datagram, (part) => parts.push(Uint8Array.from(part)) > 0);
  return parts;
}

void test('a datagram of any size comes out as it went in, whatever the order of its parts', async (t) => {
  const random = seededRandom(1);
  for (const size of [300, 1212, 4092]) {
    const cutter = new DatagramCutter(size);
    const { joiner: there, whole } = joiner();
    for (const length of [0, 1, size - 12, size - 11, 9000, 65_506, MAX_DATAGRAM]) {
      const stream = integerBetween(random, 0, 2 ** 40);
      const bytes = randomBytes(random, length);
      const parts = partsOf(cutter, stream, bytes);
      t.ok(parts.every((part) => part.length <= size));
      t.equal(parts.length, Math.max(1, Math.ceil(length / (size - 12))));
      for (const part of parts.toSorted(() => random() - 0.5)) there.handlePart(part);
      const last = whole.pop();
      t.ok(last?.stream === stream && Buffer.compare(last.bytes, bytes) === 0, `${length} bytes in parts of ${size}`);
    }
    t.strictSame([whole.length, there.dropped], [0, 0]);
  }
});

void test('parts of several datagrams may come mixed, and twice', async (t) => {
  const cutter = new DatagramCutter(100);
  const { joiner: there, whole } = joiner();
  const sent = [1, 2, 3].map((n) => partsOf(cutter, n, new Uint8Array(200 + n).fill(n)));
  for (const index of [0, 1, 2]) for (const parts of sent) for (let twice = 0; twice < 2; twice++) there.handlePart(parts[index]!);
  t.strictSame(
    whole.map(({ stream, bytes }) => [stream, bytes.length, bytes[0]]),
    [
      [1, 201, 1],
      [2, 202, 2],
      [3, 203, 3],
    ],
  );
});

void test('after a part that is not taken the others are not sent', async (t) => {
  let calls = 0;
  t.equal(
    new DatagramCutter(100).cut(1, new Uint8Array(1000), () => ++calls < 3),
    false,
  );
  t.equal(calls, 3);
});

void test('what lacks a part is given up when sixteen others do, and counted', async (t) => {
  const cutter = new DatagramCutter(100);
  const { joiner: there, whole } = joiner();
  const [first, ...others] = Array.from({ length: 17 }, (_, n) => partsOf(cutter, n, new Uint8Array(150)));
  for (const parts of [first!, ...others]) there.handlePart(parts[0]!);
  t.equal(there.dropped, 1);
  there.handlePart(first![1]!);
  t.equal(whole.length, 0, 'the first is gone');
  for (const parts of others.slice(1)) there.handlePart(parts[1]!);
  t.equal(whole.length, 15);
});

void test('what is incomplete of a stream that has ended is forgotten', async (t) => {
  const cutter = new DatagramCutter(100);
  const { joiner: there, whole } = joiner();
  const [one, other] = [partsOf(cutter, 1, new Uint8Array(150)), partsOf(cutter, 2, new Uint8Array(150))];
  there.handlePart(one[0]!);
  there.handlePart(other[0]!);
  there.forget(1);
  t.equal(there.dropped, 1);
  there.handlePart(one[1]!);
  there.handlePart(other[1]!);
  t.strictSame(
    whole.map(({ stream }) => stream),
    [2],
  );
});

void test('what does not parse is refused, and what contradicts itself is dropped', async (t) => {
  const { joiner: there, whole } = joiner();
  for (const bytes of [[], [1], [1, 0, 1, 0], [1, 0, 1, 2, 1], [0xff]])
    t.throws(() => there.handlePart(Uint8Array.from(bytes)), violation, String(bytes));
  // Two datagrams of one number, of which none becomes whole.
  there.handlePart(Uint8Array.of(1, 0, 1, 0, 1, 7));
  there.handlePart(Uint8Array.of(1, 0, 1, 0, 2, 7));
  there.handlePart(Uint8Array.of(2, 0, 1, 1, 2, 7));
  t.equal(there.dropped, 2);
  t.equal(whole.length, 0);
});

void test('nothing larger than UDP carries comes out, nor is it held', async (t) => {
  const { joiner: there, whole } = joiner();
  const part = new Uint8Array(5 + 4_000);
  part.set([1, 0, 1, 0, 255]);
  for (let index = 0; index < 17; index++) {
    part[3] = index;
    there.handlePart(part);
  }
  t.strictSame([whole.length, there.dropped], [0, 1]);
});
