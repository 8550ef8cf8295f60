import { test } from 'tap';
import { ByteReader, ByteWriter, equalBytes, fromHex, toHex } from '../../src/protocol/bytes.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };

test('varints are those of RFC 9000, appendix A.1', async (t) => {
  // The first vector of the appendix, 0xc2197c5eff14e88c, is above 2^53 - 1; a test of its own is below.
  const vectors: [hex: string, value: number][] = [
    ['9d7f3e7d', 494_878_333],
    ['7bbd', 15_293],
    ['25', 37],
  ];
  for (const [hex, value] of vectors) {
    t.equal(new ByteReader(fromHex(hex)).varint(), value);
    t.equal(toHex(new ByteWriter().varint(value).finish()), hex);
  }
  t.equal(new ByteReader(fromHex('4025')).varint(), 37, 'more bytes than needed are allowed');
});

test('a varint changes its length at each boundary and comes back the same', async (t) => {
  const boundaries: [value: number, length: number][] = [
    [0, 1],
    [2 ** 6 - 1, 1],
    [2 ** 6, 2],
    [2 ** 14 - 1, 2],
    [2 ** 14, 4],
    [2 ** 30 - 1, 4],
    [2 ** 30, 8],
    [2 ** 31, 8],
    [2 ** 32 - 1, 8],
    [2 ** 32, 8],
    [2 ** 40 + 2 ** 31 + 5, 8],
    [Number.MAX_SAFE_INTEGER, 8],
  ];
  for (const [value, length] of boundaries) {
    const bytes = new ByteWriter().varint(value).finish();
    t.equal(bytes.length, length, `${value} takes ${length} bytes`);
    const reader = new ByteReader(bytes);
    t.equal(reader.varint(), value);
    t.equal(reader.remaining, 0);
  }
});

test('a varint above 2^53 - 1 is refused', async (t) => {
  for (const hex of ['c2197c5eff14e88c', 'c020000000000000', 'ffffffffffffffff']) {
    t.throws(() => new ByteReader(fromHex(hex)).varint(), violation, hex);
  }
});

test('a number that is no varint is a bug of ours', async (t) => {
  for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    t.throws(() => new ByteWriter().varint(value), { code: 'INTERNAL' }, String(value));
  }
});

test('what ends too early is a protocol violation', async (t) => {
  t.throws(() => nothing().u8(), violation);
  t.throws(() => nothing().varint(), violation);
  t.throws(() => nothing().raw(1), violation);
  t.throws(() => nothing().block(), violation);
  t.throws(() => nothing().string(), violation);
  for (const hex of ['40', '9d7f3e', 'c2197c5eff14e8']) t.throws(() => new ByteReader(fromHex(hex)).varint(), violation, hex);
  for (const hex of ['01', '4002ff', '03616a']) t.throws(() => new ByteReader(fromHex(hex)).block(), violation, hex);
});

test('a length far beyond the bytes allocates nothing', async (t) => {
  const claim = new ByteWriter().varint(Number.MAX_SAFE_INTEGER).raw(new Uint8Array(4)).finish();
  // An array of this length cannot be made: it would be a RangeError.
  t.throws(() => new ByteReader(claim).block(), violation);
  t.throws(() => new ByteReader(claim).string(), violation);
  const gigabytes = new ByteWriter().varint(2 ** 31).finish();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 50; i++) t.throws(() => new ByteReader(gigabytes).block(), violation);
  t.ok(process.memoryUsage().arrayBuffers - before < 2 ** 28, 'no gigabytes were allocated');
});

test('fields come back in the order they were written, from a writer that had to grow', async (t) => {
  const long = Uint8Array.from({ length: 1000 }, (_, i) => i);
  const bytes = new ByteWriter()
    .u8(0x1ff)
    .raw(Uint8Array.of(2, 3, 4))
    .block(long)
    .string('grüße')
    .raw(long)
    .finish();
  const reader = new ByteReader(bytes);
  t.equal(reader.u8(), 0xff);
  t.same([...reader.raw(3)], [2, 3, 4]);
  t.same(reader.block(), long);
  t.equal(reader.string(), 'grüße');
  t.same(reader.raw(1000), long);
  t.equal(reader.remaining, 0);
});

test('what was read does not change when the buffer it came from is used again', async (t) => {
  for (const source of [Uint8Array.of(2, 7, 8), Buffer.from([2, 7, 8])]) {
    const block = new ByteReader(source).block();
    source.fill(0);
    t.same([...block], [7, 8], source.constructor.name);
  }
});

test('a string cannot steer a terminal or forge a line of a log', async (t) => {
  t.equal(read('\x1b[31mred\x1b]0;title\x07'), ' [31mred ]0;title ');
  t.equal(read('one\r\ntwo\ttab'), 'one  two tab');
  t.equal(read('a\u2028b\u2029c\u0085d\u009be'), 'a b c d e', 'line separators and the eight-bit CSI');
  t.equal(read('a\u202eb\u2066c\u200dd\ufeffe'), 'a b c d e', 'text direction and what has no width');
  t.equal(read('naïve 日本 👍'), 'naïve 日本 👍', 'everything else stays');
  for (let code = 0; code < 0xa0; code++) {
    if (code >= 0x20 && code < 0x7f) continue;
    if (read(`<${String.fromCharCode(code)}>`) !== '< >') t.fail(`control character ${code} came through`);
  }
});

test('a string that is not UTF-8 is read, not refused', async (t) => {
  t.equal(new ByteReader(Uint8Array.of(3, 0x61, 0xff, 0x62)).string(), 'a\ufffdb');
});

test('hexadecimal digits both ways', async (t) => {
  t.equal(toHex(Uint8Array.of(0, 0x0f, 0xa0, 0xff)), '000fa0ff');
  t.same([...fromHex('000Fa0ff')], [0, 0x0f, 0xa0, 0xff]);
});

test('bytes are equal when all of them are', async (t) => {
  t.ok(equalBytes(Uint8Array.of(), Uint8Array.of()));
  t.ok(equalBytes(Uint8Array.of(1, 2), Buffer.from([1, 2])));
  t.notOk(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0)));
  for (const different of [
    [0, 2, 3],
    [1, 0, 3],
    [1, 2, 0],
  ]) {
    t.notOk(equalBytes(Uint8Array.of(1, 2, 3), Uint8Array.from(different)));
  }
});

function nothing(): ByteReader {
  return new ByteReader(new Uint8Array(0));
}

function read(text: string): string {
  return new ByteReader(new ByteWriter().string(text).finish()).string();
}
