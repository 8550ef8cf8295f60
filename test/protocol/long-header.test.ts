import { test } from 'tap';
import { ByteWriter } from '../../src/protocol/bytes.ts';
import { readLongHeaders } from '../../src/protocol/long-header.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

const NONE = new Uint8Array(0);
const ID = Uint8Array.from({ length: 16 }, (_, i) => i);
const OTHER = Uint8Array.from({ length: 16 }, (_, i) => 0x80 + i);

test('the ids and the token of a lone Initial, wherever it stands', async (t) => {
  for (const [destination, source, token] of [
    [ID, OTHER, NONE],
    [ID, OTHER, Uint8Array.of(9, 8, 7)],
    [new Uint8Array(20).fill(5), new Uint8Array(20).fill(6), new Uint8Array(300)],
    [NONE, NONE, NONE],
  ] as const) {
    const bytes = Uint8Array.of(1, 2, 3, ...initial({ destination, source, token }), 4);
    const header = readLongHeaders(bytes, 3, bytes.length - 4);
    t.same(header?.destination, destination);
    t.same(header?.source, source);
    t.same(header?.token, token);
  }
});

test('packets that share a datagram must share their ids', async (t) => {
  const parts = [initial(), handshake(), zeroRtt(), short()];
  t.same(read(...parts)?.source, OTHER);
  t.equal(read(handshake())?.token, null, 'no Initial');
  t.equal(read(initial(), handshake({ source: ID })), null, 'another source');
  t.equal(read(initial(), handshake({ destination: OTHER })), null, 'another destination');
  t.equal(read(initial(), short(OTHER)), null, 'a short header of another connection');
  t.equal(read(initial(), handshake(), initial({ source: ID })), null, 'the third');
  t.equal(read(...Array.from({ length: 9 }, () => handshake())), null, 'more than a client has reason for');
});

test('what is no packet of QUIC v1 from a client', async (t) => {
  t.ok(read(initial()));
  t.equal(read(changed(initial(), 0, 0x80)), null, 'the fixed bit is clear');
  t.equal(read(changed(initial(), 0, 0xf0)), null, 'Retry');
  t.equal(read(changed(initial(), 4, 2)), null, 'another version');
  t.equal(read(changed(initial(), 1, 0x6b)), null, 'QUIC v2');
  t.equal(read(changed(initial(), 5, 21)), null, 'an id too long');
  t.equal(read(changed(initial(), 22, 21)), null, 'the other id too long');
  t.equal(read(initial(), Uint8Array.of(1)), null, 'something behind it');
  t.ok(read(initial(), handshake(), new Uint8Array(500)), 'zeros to fill the datagram up');
  t.equal(read(initial(), new Uint8Array(500), Uint8Array.of(1)), null, 'zeros and something else');
  t.equal(read(initial(), new Uint8Array(500), handshake()), null, 'zeros between packets');
  t.equal(read(initial({ payload: 19 })), null, 'nothing to decrypt');
  t.ok(read(initial({ payload: 20 })));
});

test('cut short anywhere it is nothing', async (t) => {
  const whole = Uint8Array.of(...initial({ token: new Uint8Array(70) }), ...handshake());
  const first = initial({ token: new Uint8Array(70) }).length;
  for (let length = 0; length < whole.length; length++)
    t.equal(readLongHeaders(whole, 0, length) !== null, length === first, `${length} bytes`);
});

test('lengths that lie, in every form of varint', async (t) => {
  for (const length of [2 ** 14 - 1, 2 ** 30 - 1, 2 ** 53 - 1]) {
    t.equal(read(initial({ lengthField: length })), null, `a packet of ${length} bytes`);
    t.equal(read(initial({ tokenField: length })), null, `a token of ${length} bytes`);
  }
});

test('20,000 seeded mutants: a view within the datagram, or nothing', async (t) => {
  const random = seededRandom(17);
  const parts = [initial, handshake, zeroRtt, short];
  const outcomes = { read: 0, refused: 0 };
  for (let round = 0; round < 20_000; round++) {
    const count = integerBetween(random, 1, 3);
    const bytes = joined(...Array.from({ length: count }, (_, n) => parts[n === 0 ? 0 : integerBetween(random, 0, 3)]!()));
    for (let n = integerBetween(random, 0, 3); n > 0; n--) bytes[integerBetween(random, 0, bytes.length - 1)] = random() * 256;
    const offset = integerBetween(random, 0, 5);
    const datagram = joined(randomBytes(random, offset), bytes, randomBytes(random, 3));
    const length = random() < 0.7 ? bytes.length : integerBetween(random, 0, bytes.length);
    const header = readLongHeaders(datagram, offset, length);
    outcomes[header === null ? 'refused' : 'read']++;
    for (const view of header === null ? [] : [header.destination, header.source, header.token ?? header.source]) {
      const start = view.byteOffset - datagram.byteOffset;
      if (view.buffer !== datagram.buffer || start < offset || start + view.length > offset + length)
        return void t.fail(`round ${round}: ${Buffer.from(datagram).toString('hex')}`);
    }
  }
  for (const [outcome, count] of Object.entries(outcomes)) t.ok(count > 2_000, `${outcome}: ${count}`);
});

interface Parts {
  readonly destination?: Uint8Array;
  readonly source?: Uint8Array;
  readonly token?: Uint8Array;
  readonly payload?: number;
  /** What the headers say in the place of what is true. */
  readonly lengthField?: number;
  readonly tokenField?: number;
}

function initial(parts: Parts = {}): Uint8Array {
  const { token = NONE, tokenField = token.length } = parts;
  return joined(front(0xc0, parts), varint(tokenField), token, rest(parts));
}

function zeroRtt(parts: Parts = {}): Uint8Array {
  return joined(front(0xd0, parts), rest(parts));
}

function handshake(parts: Parts = {}): Uint8Array {
  return joined(front(0xe0, parts), rest(parts));
}

function short(destination: Uint8Array = ID): Uint8Array {
  return joined(Uint8Array.of(0x40), destination, new Uint8Array(25));
}

function front(first: number, { destination = ID, source = OTHER }: Parts): Uint8Array {
  return Uint8Array.of(first, 0, 0, 0, 1, destination.length, ...destination, source.length, ...source);
}

function rest({ payload = 40, lengthField = payload }: Parts): Uint8Array {
  return joined(varint(lengthField), new Uint8Array(payload));
}

function varint(value: number): Uint8Array {
  return new ByteWriter().varint(value).finish();
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function read(...parts: Uint8Array[]): ReturnType<typeof readLongHeaders> {
  const bytes = joined(...parts);
  return readLongHeaders(bytes, 0, bytes.length);
}

function changed(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = value;
  return copy;
}
