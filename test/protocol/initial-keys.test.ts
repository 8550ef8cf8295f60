import { createHmac } from 'node:crypto';
import { test } from 'tap';
import type { Hmac } from '../../src/protocol/handshake.ts';
import { hintedNonce, InitialKeys } from '../../src/protocol/initial-keys.ts';
import { CLOCK_WINDOW, InitialProof, PROOF_NONCE } from '../../src/protocol/initial-proof.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

let calls = 0;
const hmac: Hmac = (key, ...parts) => {
  calls++;
  const sum = createHmac('sha256', key);
  for (const part of parts) sum.update(part);
  return sum.digest();
};
const random = seededRandom(5);
const key = () => randomBytes(random, 32);
const NOW = 1_800_000_000;

function idOf(client: Uint8Array, time: number): Uint8Array {
  return new InitialProof(hmac, client).make(hintedNonce(hmac, client, randomBytes(random, PROOF_NONCE), time), time);
}

function reads(keys: InitialKeys, id: Uint8Array, now: number): number[] {
  return keys
    .candidates(id, now)
    .map((proof) => proof.read(id))
    .filter((time) => time !== null);
}

test('each of many clients is found, whatever its clock within the window, and few keys are tried', async (t) => {
  const clients = Array.from({ length: 2_000 }, key);
  const keys = new InitialKeys(hmac, [key(), key()], clients);
  let tried = 0;
  for (let n = 0; n < 100; n++) {
    const now = NOW + Math.floor(random() * 10_000);
    const time = now + Math.floor((2 * random() - 1) * CLOCK_WINDOW);
    const id = idOf(clients[Math.floor(random() * clients.length)]!, time);
    t.same(reads(keys, id, now), [time]);
    tried = Math.max(tried, keys.candidates(id, now).length);
  }
  t.ok(tried <= 2 + 5, `${tried}`);
});

test('a stranger costs no computation for each client', async (t) => {
  const keys = new InitialKeys(hmac, [key()], Array.from({ length: 2_000 }, key));
  keys.candidates(randomBytes(random, 16), NOW);
  calls = 0;
  for (let n = 0; n < 1_000; n++) reads(keys, randomBytes(random, 16), NOW);
  t.ok(calls <= 1_000 * 2, `${calls} for 1000 packets`);
});

test('a client that is not there is not found; those without a name need no hint', async (t) => {
  const own = key();
  const keys = new InitialKeys(hmac, [own], [key(), key()]);
  t.same(reads(keys, idOf(key(), NOW), NOW), []);
  const plain = new InitialProof(hmac, own).make(randomBytes(random, PROOF_NONCE), NOW);
  t.same(reads(keys, plain, NOW), [NOW]);
  t.same(reads(new InitialKeys(hmac, [own], []), plain, NOW), [NOW]);
  t.same(keys.candidates(new Uint8Array(0), NOW).length, 1);
});
