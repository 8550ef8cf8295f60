import { test } from 'tap';
import { hmacSha256 } from '../../../src/identity/secret.ts';
import {
  MAX_DELAY,
  MAX_RANGES,
  MAX_REPORT,
  type Report,
  ReportReader,
  ReportWriter,
} from '../../../src/protocol/delivery/report.ts';
import { WRAP } from '../../../src/protocol/delivery/serial.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { ID } from '../shards.ts';

const KEY = new Uint8Array(32).fill(3);
const FIXED = 48;
const TAG = 16;

const REPORT: Report = {
  number: 1,
  clock: 123_456_789,
  delay: 1.25,
  latest: 1_000,
  bytes: 987_654_321,
  forward: 500,
  cumulative: 900,
  restored: 40_000,
  bursts: 300,
  ranges: [3, 7, 1, 90],
};

function written(report: Partial<Report> = {}, key = KEY): Uint8Array {
  const into = new Uint8Array(MAX_REPORT + 10).fill(0xee);
  const length = new ReportWriter(hmacSha256, key, ID).write({ ...REPORT, ...report }, into);
  if (into[length] !== 0xee) throw new Error('It wrote beyond its length.');
  return into.slice(0, length);
}

const readBy = (reader: ReportReader, bytes: Uint8Array, sent = 1_000, received = 500): Report | null => {
  const input = new Uint8Array(bytes.length + 10).fill(0xdd);
  input.set(bytes, 5);
  return reader.read(input, 5, bytes.length, sent, received);
};
const read = (bytes: Uint8Array): Report | null => readBy(new ReportReader(hmacSha256, KEY), bytes);

test('a report comes out as it went in', async (t) => {
  t.same(read(written()), REPORT);
  t.same(read(written({ ranges: [] })), { ...REPORT, ranges: [] });
  const bytes = written();
  t.equal(bytes[0], 0x21);
  t.same(bytes.subarray(1, 17), ID);
  t.equal(bytes.length, FIXED + 8 + TAG);
});

test('the longest report fits the datagram that passes everywhere', async (t) => {
  const ranges = Array.from({ length: 2 * MAX_RANGES }, (_, i) => i + 1);
  const bytes = written({ ranges });
  t.equal(bytes.length, MAX_REPORT);
  t.ok(MAX_REPORT <= 1_350 && MAX_REPORT > 1_200);
  t.same(read(bytes)?.ranges, ranges);
});

test('all numbers wrap, or are cut, as documented', async (t) => {
  const random = seededRandom(4);
  for (let i = 0; i < 1_000; i++) {
    const sent = integerBetween(random, 0, 2 ** 40);
    const received = integerBetween(random, 0, 2 ** 40);
    const near = (number: number): number => Math.max(0, number - integerBetween(random, 0, 32_768));
    const report = {
      ...REPORT,
      number: integerBetween(random, 1, 2 ** 48 - 1),
      clock: random() * 2 ** 45,
      delay: random() * 1_000,
      bytes: integerBetween(random, 0, 2 ** 52),
      latest: near(sent),
      cumulative: near(sent),
      forward: near(received),
    };
    const back = readBy(new ReportReader(hmacSha256, KEY), written(report), sent, received)!;
    const expected = {
      ...report,
      clock: Math.floor(report.clock % 2 ** 32),
      bytes: report.bytes % 2 ** 48,
      delay: Math.min(Math.round(report.delay * 100) / 100, MAX_DELAY),
    };
    if (JSON.stringify(back) !== JSON.stringify(expected)) t.same(back, expected);
  }
  t.equal(read(written({ latest: WRAP + 1_000 }))?.latest, 1_000);
});

test('a copy, or a report older than the last, says nothing', async (t) => {
  const reader = new ReportReader(hmacSha256, KEY);
  t.ok(readBy(reader, written({ number: 5 })));
  t.equal(readBy(reader, written({ number: 5 })), null);
  t.equal(readBy(reader, written({ number: 4 })), null);
  t.ok(readBy(reader, written({ number: 6 })));
  t.ok(readBy(reader, written({ number: 2 ** 32 + 1 })), 'a number does not begin again');
  t.equal(readBy(reader, written({ number: 7 })), null);
});

test('a report that another key wrote, or of which any bit was changed, is none, and does not make the next one old', async (t) => {
  const reader = new ReportReader(hmacSha256, KEY);
  t.equal(readBy(reader, written({ number: 2 ** 40 }, new Uint8Array(32))), null);
  const good = written();
  let taken = 0;
  for (let bit = 0; bit < 8 * good.length; bit++) {
    const bytes = Uint8Array.from(good);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    if (readBy(reader, bytes) !== null) taken++;
  }
  t.equal(taken, 0);
  t.ok(readBy(reader, good));
});

test('a report that is cut, longer, or noise is none', async (t) => {
  const good = written({ ranges: Array.from({ length: 40 }, () => 1) });
  for (let length = 0; length < good.length; length++) if (read(good.subarray(0, length)) !== null) t.fail(`${length} bytes`);
  const random = seededRandom(5);
  for (let i = 0; i < 5_000; i++) {
    const bytes =
      i % 2 === 0
        ? randomBytes(random, integerBetween(random, 0, 1_400))
        : Buffer.concat([good, randomBytes(random, integerBetween(random, 1, 8))]);
    if (bytes.length > 0) bytes[0] = 0x21;
    if (read(bytes) !== null) t.fail(`round ${i}`);
  }
  t.pass('nothing was read');
});
