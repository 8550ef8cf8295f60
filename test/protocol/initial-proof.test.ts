import { createHmac } from 'node:crypto';
import { test } from 'tap';
import type { Hmac } from '../../src/protocol/handshake.ts';
import { CLOCK_WINDOW, InitialGate, InitialProof, MOST_ADMITTED, PROOF_NONCE } from '../../src/protocol/initial-proof.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

const hmac: Hmac = (key, ...parts) => {
  const sum = createHmac('sha256', key);
  for (const part of parts) sum.update(part);
  return sum.digest();
};
const random = seededRandom(3);
const nonce = (): Uint8Array => randomBytes(random, PROOF_NONCE);
const make = (time: number, proof = OURS): Uint8Array => proof.make(nonce(), time);
const SECRET = Buffer.alloc(32, 1);
const OURS = new InitialProof(hmac, SECRET);
const THEIRS = new InitialProof(hmac, Buffer.alloc(32, 2));
const NOW = 1_800_000_000;

test('an id is read with the secret that it was made with, and no other', async (t) => {
  for (let n = 0; n < 100; n++) {
    const time = Math.floor(random() * 2 ** 32);
    const id = make(time);
    t.equal(id.length, 16);
    t.equal(OURS.read(id), time);
    t.equal(THEIRS.read(id), null);
  }
});

test('what one bit of an id is changed of is no proof', async (t) => {
  const id = make(NOW);
  for (let bit = 0; bit < 128; bit++) {
    const other = Uint8Array.from(id);
    other[bit >>> 3]! ^= 1 << (bit & 7);
    t.equal(OURS.read(other), null, `bit ${bit}`);
  }
  for (const length of [0, 1, 8, 15]) t.equal(OURS.read(id.subarray(0, length)), null);
  t.equal(OURS.read(Uint8Array.of(...id, 0)), null);
});

test('the time cannot be seen in it', async (t) => {
  const times = new Set(Array.from({ length: 50 }, () => Buffer.from(make(NOW).subarray(4, 8)).toString('hex')));
  t.equal(times.size, 50);
});

test('the proof is not made with the key that proofs of the greeting are made with', async (t) => {
  const keys: Uint8Array[] = [];
  const spy: Hmac = (key, ...parts) => {
    keys.push(key);
    return hmac(key, ...parts);
  };
  const proof = new InitialProof(spy, SECRET);
  keys.length = 0;
  proof.read(proof.make(nonce(), NOW));
  t.ok(keys.length > 0);
  t.notOk(keys.some((key) => Buffer.from(key).equals(SECRET)));
});

test('each proof counts once, and only around its time', async (t) => {
  const gate = new InitialGate();
  const id = make(NOW);
  t.same(gate.judge(id, [OURS], NOW), { kind: 'fresh', time: NOW });
  t.equal(gate.judge(id, [OURS], NOW).kind, 'fresh', 'judging alone uses nothing up');
  gate.admit(id, NOW);
  t.equal(gate.judge(id, [OURS], NOW).kind, 'replay');
  t.equal(gate.judge(make(NOW), [OURS], NOW).kind, 'fresh', 'another of the same second');
  t.equal(gate.judge(make(NOW - CLOCK_WINDOW), [OURS], NOW).kind, 'fresh');
  t.equal(gate.judge(make(NOW + CLOCK_WINDOW), [OURS], NOW).kind, 'fresh');
  t.same(gate.judge(make(NOW - CLOCK_WINDOW - 1), [OURS], NOW), { kind: 'stale', ahead: -CLOCK_WINDOW - 1 });
  t.same(gate.judge(make(NOW + CLOCK_WINDOW + 1), [OURS], NOW), { kind: 'stale', ahead: CLOCK_WINDOW + 1 });
  t.equal(gate.judge(make(NOW, THEIRS), [OURS], NOW).kind, 'stranger');
  t.equal(gate.judge(make(NOW, THEIRS), [OURS, THEIRS], NOW).kind, 'fresh', 'two secrets are valid');
});

test('a proof stays used for as long as its time would be accepted, and is then forgotten', async (t) => {
  for (const ahead of [-CLOCK_WINDOW, -1, 0, 1, CLOCK_WINDOW]) {
    const gate = new InitialGate();
    const id = make(NOW + ahead);
    gate.admit(id, NOW + ahead);
    for (let now = NOW; now < NOW + 5 * CLOCK_WINDOW; now += 7) {
      const expected = Math.abs(NOW + ahead - now) <= CLOCK_WINDOW ? 'replay' : 'stale';
      if (gate.judge(id, [OURS], now).kind !== expected) return void t.fail(`${ahead} s ahead, ${now - NOW} s later`);
      gate.judge(make(now), [OURS], now);
    }
    t.equal(gate.size, 0);
  }
});

test('what it remembers is bounded', async (t) => {
  const gate = new InitialGate();
  const full = (): boolean => gate.judge(make(NOW), [OURS], NOW).kind === 'full';
  for (let n = 0; n < MOST_ADMITTED; n++) {
    if (n % 10_000 === 0 && full()) return void t.fail(`full after ${n}`);
    gate.admit(randomBytes(random, 16), NOW);
  }
  t.ok(full());
  t.ok(gate.size <= MOST_ADMITTED);
  const later = NOW + 4 * CLOCK_WINDOW;
  t.equal(gate.judge(make(later), [OURS], later).kind, 'fresh', 'until time has passed');
});
