import { test } from 'tap';
import { hmacSha256 } from '../../../src/identity/secret.ts';
import { PROBE, readProbe, writeProbe } from '../../../src/protocol/delivery/probe.ts';
import { seededRandom } from '../../support/random.ts';
import { ID } from '../shards.ts';

const KEY = new Uint8Array(32).fill(9);

function written(probe: Parameters<typeof writeProbe>[0]): Uint8Array {
  const into = new Uint8Array(10_000).fill(0xee);
  return into.slice(0, writeProbe(probe, ID, hmacSha256, KEY, into));
}

const read = (bytes: Uint8Array, key = KEY) => readProbe(bytes, 0, bytes.length, hmacSha256, key);

test('a probe is as long as it says, an answer is short', async (t) => {
  const probe = { isAnswer: false, size: 8_216, number: 4_000_000_000 };
  const bytes = written(probe);
  t.equal(bytes.length, 8_216);
  t.same(read(bytes), probe);
  const answer = { ...probe, isAnswer: true };
  t.equal(written(answer).length, PROBE);
  t.same(read(written(answer)), answer);
});

test('it is read wherever it stands', async (t) => {
  const bytes = written({ isAnswer: false, size: 1_452, number: 7 });
  const input = new Uint8Array(bytes.length + 20).fill(0xdd);
  input.set(bytes, 9);
  t.same(readProbe(input, 9, bytes.length, hmacSha256, KEY), { isAnswer: false, size: 1_452, number: 7 });
});

test('what is cut, changed, or made with another key is no probe', async (t) => {
  const bytes = written({ isAnswer: false, size: 1_452, number: 7 });
  t.equal(read(bytes, new Uint8Array(32)), null);
  for (const length of [0, 1, PROBE - 1, PROBE, 1_451]) t.equal(read(bytes.subarray(0, length)), null, `${length} bytes`);
  for (let at = 0; at < PROBE; at++) {
    const changed = Uint8Array.from(bytes);
    changed[at]! ^= 1;
    t.equal(read(changed), null, `byte ${at}`);
  }
  const random = seededRandom(5);
  for (let i = 0; i < 1_000; i++) {
    const garbage = Uint8Array.from({ length: Math.floor(random() * 100) }, () => random() * 256);
    t.equal(read(garbage), null);
  }
});
