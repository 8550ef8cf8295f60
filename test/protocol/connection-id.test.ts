import { createHmac } from 'node:crypto';
import { test } from 'tap';
import {
  CONNECTION_ID,
  ConnectionIdIssuer,
  ConnectionIdRouter,
  destinationId,
  endsWithToken,
  MIN_STATELESS_RESET,
  packetForm,
  statelessReset,
} from '../../src/protocol/connection-id.ts';
import type { Hmac } from '../../src/protocol/handshake.ts';
import { hasCheck, idCheck } from '../../src/protocol/id-check.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

const KEY = new Uint8Array(32).fill(1);
const hmac: Hmac = (key, ...parts) => {
  const sum = createHmac('sha256', key);
  for (const part of parts) sum.update(part);
  return sum.digest();
};

test('the form of a packet is in the first two bits; shards, reports, probes and parity are of forms of their own', async (t) => {
  const OWN = new Map([
    [0x20, 'shard'],
    [0x21, 'report'],
    [0x22, 'probe'],
    [0x23, 'parity'],
  ]);
  for (let first = 0; first < 256; first++) {
    const form = first < 0x40 ? 'other' : first < 0x80 ? 'short' : first < 0xc0 ? 'other' : 'long';
    t.equal(packetForm(first), OWN.get(first) ?? form);
  }
});

test('a short header’s id is the 16 bytes after the first', async (t) => {
  const packet = Uint8Array.of(0x40, ...range(16, 1), 99, 98);
  t.same(destinationId(packet, 0, packet.length), range(16, 1));
  t.same(destinationId(packet, 0, 17), range(16, 1));
  t.equal(destinationId(packet, 0, 16), null);
});

test('a shard has its id where a short header has it', async (t) => {
  const packet = Uint8Array.of(0x20, ...range(16, 1), 99, 98);
  t.same(destinationId(packet, 0, packet.length), range(16, 1));
  t.equal(destinationId(packet, 0, 16), null);
});

test('a long header says how long its id is, 0 to 20 bytes', async (t) => {
  for (let length = 0; length <= 255; length++) {
    const packet = Uint8Array.of(0xc0, 0, 0, 0, 1, length, ...range(length, 1), 99);
    const id = destinationId(packet, 0, packet.length);
    if (length > 20) t.equal(id, null);
    else t.same(id, range(length, 1));
    if (length > 0) t.equal(destinationId(packet, 0, 6 + length - 1), null, 'cut short');
  }
});

test('what is not QUIC v1 has no id', async (t) => {
  for (const first of [0x00, 0x16, 0x3f, 0x80, 0xbf]) t.equal(destinationId(new Uint8Array(100).fill(first), 0, 100), null);
});

test('random bytes of every length give an id inside the packet, or none', async (t) => {
  const random = seededRandom(11);
  for (let round = 0; round < 40; round++) {
    for (let length = 0; length <= 64; length++) {
      const offset = integerBetween(random, 0, 20);
      const bytes = randomBytes(random, offset + length + integerBetween(random, 0, 30));
      const id = destinationId(bytes, offset, length);
      if (id === null) continue;
      const start = id.byteOffset - bytes.byteOffset;
      if (start < offset || start + id.length > offset + length) {
        return void t.fail(`an id at ${start} of ${id.length} bytes in a packet at ${offset} of ${length}`);
      }
    }
  }
});

test('the id is the same wherever the packet stands in its buffer', async (t) => {
  const packet = Uint8Array.of(0xc0, 0, 0, 0, 1, 8, ...range(8, 1), 99);
  const buffer = Uint8Array.of(0x40, 0x40, 0x40, ...packet, 0xff, 0xff);
  t.same(destinationId(buffer, 3, packet.length), range(8, 1));
});

test('a server knows its ids again after a restart with the same key, and no others', async (t) => {
  const random = seededRandom(5);
  const before = new ConnectionIdIssuer(hmac, KEY);
  const after = new ConnectionIdIssuer(hmac, Uint8Array.from(KEY));
  const stranger = new ConnectionIdIssuer(hmac, new Uint8Array(32).fill(2));
  for (let i = 0; i < 50; i++) {
    const seed = randomBytes(random, 8);
    const id = before.issue(seed);
    t.equal(id.length, CONNECTION_ID);
    t.same(id.subarray(0, 8), seed);
    t.ok(after.isOwn(id));
    t.notOk(stranger.isOwn(id));
    t.same(after.resetToken(id), before.resetToken(id));
    t.notSame(stranger.resetToken(id), before.resetToken(id));
    t.notOk(after.isOwn(randomBytes(random, CONNECTION_ID)));
  }
});

test('one changed bit, or another length, makes an id somebody else’s', async (t) => {
  const issuer = new ConnectionIdIssuer(hmac, KEY);
  const id = issuer.issue(range(8, 1));
  for (let bit = 0; bit < 8 * CONNECTION_ID; bit++) {
    const changed = Uint8Array.from(id);
    changed[bit >>> 3]! ^= 1 << (bit & 7);
    if (issuer.isOwn(changed)) t.fail(`bit ${bit}`);
  }
  for (const length of [0, 8, 15, 17, 20]) t.notOk(issuer.isOwn(Uint8Array.of(...id, 0, 0, 0, 0).subarray(0, length)));
});

test('ids and tokens are those of docs/PROTOCOL.md, and tokens tell nothing of ids', async (t) => {
  const issuer = new ConnectionIdIssuer(hmac, KEY);
  const id = issuer.issue(range(8, 1));
  t.same(id.subarray(10), hmac(KEY, Buffer.from('cid'), range(8, 1)).subarray(0, 6));
  t.ok(hasCheck(idCheck(hmac(KEY, Buffer.from('check'))), id));
  t.same(issuer.resetToken(id), hmac(KEY, Buffer.from('reset'), id).subarray(0, 16));
  t.equal(issuer.resetToken(id).length, 16);
});

test('a stateless reset looks like a short header and ends with the token', async (t) => {
  const random = seededRandom(9);
  const token = randomBytes(random, 16);
  for (let round = 0; round < 256; round++) {
    const noise = randomBytes(random, integerBetween(random, MIN_STATELESS_RESET, 60));
    const packet = statelessReset(noise, token);
    t.equal(packet.length, noise.length);
    t.equal(packetForm(packet[0]!), 'short');
    t.same(packet.subarray(-16), token);
    t.same(packet.subarray(1, -16), noise.subarray(1, -16), 'the rest is the noise');
    t.ok(endsWithToken(packet, 0, packet.length, token));
  }
});

test('a token is looked for at the end of the packet, not of its buffer', async (t) => {
  const token = range(16, 100);
  const packet = statelessReset(range(40, 1), token);
  const buffer = Uint8Array.of(1, 2, 3, ...packet, 4, 5);
  t.ok(endsWithToken(buffer, 3, packet.length, token));
  t.notOk(endsWithToken(buffer, 3, packet.length + 1, token));
  t.notOk(endsWithToken(buffer, 3, packet.length - 1, token));
});

test('a token with any bit wrong is not the token; a packet too short to be a reset is none', async (t) => {
  const token = range(16, 100);
  const packet = statelessReset(range(MIN_STATELESS_RESET, 1), token);
  t.ok(endsWithToken(packet, 0, packet.length, token));
  for (let bit = 0; bit < 128; bit++) {
    const wrong = Uint8Array.from(token);
    wrong[bit >>> 3]! ^= 1 << (bit & 7);
    if (endsWithToken(packet, 0, packet.length, wrong)) t.fail(`bit ${bit}`);
  }
  for (let length = 0; length < MIN_STATELESS_RESET; length++) {
    t.notOk(endsWithToken(packet, packet.length - length, length, token));
  }
});

test('the router tells ids apart that share their first six bytes', async (t) => {
  const router = new ConnectionIdRouter<string>();
  const ids = ['a', 'b', 'c'].map((name, i) => ({ name, id: Uint8Array.of(1, 2, 3, 4, 5, 6, ...range(10, i)) }));
  for (const { id, name } of ids) router.add(id, name);
  t.equal(router.size, 3);
  for (const { id, name } of ids) t.equal(router.find(id), name);
  t.equal(router.find(Uint8Array.of(1, 2, 3, 4, 5, 6, ...range(10, 99))), undefined);
  router.delete(ids[1]!.id);
  t.same(
    ids.map(({ id }) => router.find(id)),
    ['a', undefined, 'c'],
  );
  router.delete(ids[1]!.id);
  router.delete(range(16, 77));
  t.equal(router.size, 2, 'deleting what is not there changes nothing');
});

test('short ids, and one that begins another, are ids of their own', async (t) => {
  const router = new ConnectionIdRouter<number>();
  const ids = [range(0, 0), Uint8Array.of(0), Uint8Array.of(0, 0), new Uint8Array(6), new Uint8Array(8), new Uint8Array(20)];
  ids.forEach((id, i) => router.add(id, i));
  ids.forEach((id, i) => t.equal(router.find(id), i));
  for (const id of ids) router.delete(id);
  t.equal(router.size, 0);
});

test('the router finds an id within other bytes, whatever its length and what stands around it', async (t) => {
  const router = new ConnectionIdRouter<number>();
  const ids = [0, 1, 5, 6, 7, 16, 20].map((length) => range(length, 1));
  for (const id of ids) router.add(id, id.length);
  for (const around of [0, 1, 255]) {
    for (const id of ids) {
      const bytes = Uint8Array.of(around, around, around, ...id, around, around, around, around, around, around);
      t.equal(router.findAt(bytes, 3, id.length), id.length, `${id.length} bytes among ${around}`);
      t.equal(router.findAt(bytes, 3, id.length + 2), undefined);
    }
  }
  t.equal(router.findAt(Uint8Array.of(9, ...range(10, 1)), 1, 16), undefined, 'an id that the bytes end within');
});

test('the router keeps its own copy of an id', async (t) => {
  const router = new ConnectionIdRouter<string>();
  const buffer = Buffer.from(range(16, 1));
  router.add(buffer, 'target');
  buffer.fill(0);
  t.equal(router.find(range(16, 1)), 'target');
});

test('the router against a plain map, with many collisions', async (t) => {
  const random = seededRandom(21);
  const router = new ConnectionIdRouter<number>();
  const plain = new Map<string, number>();
  for (let step = 0; step < 20_000; step++) {
    const id = Uint8Array.of(0, 0, 0, 0, 0, integerBetween(random, 0, 9), integerBetween(random, 0, 9));
    const name = id.join();
    if (plain.has(name)) {
      router.delete(id);
      plain.delete(name);
    } else {
      router.add(id, step);
      plain.set(name, step);
    }
    const other = Uint8Array.of(0, 0, 0, 0, 0, integerBetween(random, 0, 9), integerBetween(random, 0, 9));
    if (router.size !== plain.size || router.find(other) !== plain.get(other.join())) return void t.fail(`step ${step}`);
  }
});

function range(length: number, from: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => from + i);
}
