import { spawnSync } from 'node:child_process';
import { test } from 'tap';
import { ParityDecoder } from '../../../src/protocol/reed-solomon/decoder.ts';
import { ParityEncoder } from '../../../src/protocol/reed-solomon/encoder.ts';
import { multiply } from '../../../src/protocol/reed-solomon/field.ts';
import { createKernel } from '../../../src/protocol/reed-solomon/kernel.ts';
import { MAX_PARITY, MAX_SHARD } from '../../../src/protocol/reed-solomon/sizes.ts';
import { createWasmKernel } from '../../../src/protocol/reed-solomon/wasm-kernel.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { KERNELS } from './kernels.ts';

for (const create of KERNELS) {
  const kernel = create();

  test(`${kernel.name}: rows become the sum of the products, for every coefficient`, async (t) => {
    const random = seededRandom(2);
    for (let coefficient = 0; coefficient < 256; coefficient++) {
      const source = randomBytes(random, integerBetween(random, 1, 70));
      const rows = kernel.acquire(1);
      rows.add(source, new Uint8Array(MAX_PARITY).fill(coefficient));
      t.same(
        rows.row(0, source.length),
        source.map((byte) => multiply(coefficient, byte)),
        `${coefficient}`,
      );
      rows.release();
    }
  });

  test(`${kernel.name}: as many rows as there can be, sources of any length and place in memory`, async (t) => {
    const random = seededRandom(3);
    for (let count = 1; count <= MAX_PARITY; count++) {
      const rows = kernel.acquire(count);
      const expected = Array.from({ length: count }, () => new Uint8Array(MAX_SHARD));
      for (let n = 0; n < 5; n++) {
        const source = randomBytes(random, MAX_SHARD + 3).subarray(n % 4, integerBetween(random, 4, MAX_SHARD));
        const coefficients = randomBytes(random, MAX_PARITY);
        if (n % 2 === 0) coefficients[0] = 1;
        rows.add(source, coefficients);
        expected.forEach((row, j) => source.forEach((byte, i) => (row[i]! ^= multiply(coefficients[j]!, byte))));
      }
      const actual = expected.map((_, j) => rows.row(j, MAX_SHARD).slice());
      t.same(actual, expected, `${count} rows`);
      rows.release();
    }
  });

  test(`${kernel.name}: many accumulators do not touch each other, and begin with zeros when used again`, async (t) => {
    const ones = new Uint8Array(MAX_PARITY).fill(1);
    const open = Array.from({ length: 300 }, (_, n) => ({ n, rows: kernel.acquire(1 + (n % 7)) }));
    for (const { n, rows } of open) rows.add(new Uint8Array(MAX_SHARD).fill(n), ones);
    const wrong = open.filter(({ n, rows }) => !rows.row(n % 7, MAX_SHARD).every((byte) => byte === n % 256));
    t.equal(wrong.length, 0);
    for (const { rows } of open) rows.release();
    const again = kernel.acquire(5);
    for (let j = 0; j < 5; j++) t.ok(again.row(j, MAX_SHARD).every((byte) => byte === 0));
    again.release();
  });
}

test('wasm: rows outlive the growth of the memory', async (t) => {
  const kernel = createWasmKernel()!;
  const ones = new Uint8Array(MAX_PARITY).fill(1);
  const rows = kernel.acquire(1);
  rows.add(Uint8Array.of(5), ones);
  const { buffer } = rows.row(0, 1);
  while (kernel.acquire(MAX_PARITY).row(0, 1).buffer === buffer);
  rows.add(Uint8Array.of(3), ones);
  t.same(rows.row(0, 1), Uint8Array.of(5 ^ 3));
});

test('wasm: encoders and decoders give their memory back', async (t) => {
  const kernel = createWasmKernel()!;
  const encoder = new ParityEncoder(kernel);
  const decoder = new ParityDecoder(kernel);
  const { buffer } = kernel.acquire(1).row(0, 1);
  const shard = Uint8Array.of(1, 2, 3);
  for (let n = 0; n < 1000; n++) {
    encoder.begin(3 + (n % 2));
    encoder.add(0, shard);
    if (n % 2 === 0) encoder.end();
    decoder.reconstruct([null], [shard], [new Uint8Array(3)]);
  }
  t.equal(kernel.acquire(1).row(0, 1).buffer, buffer, 'the memory did not have to grow');
});

test('WebAssembly is what is used, and tables where Node runs without it', async (t) => {
  t.equal(createKernel().name, 'wasm');
  const module = new URL('../../../src/protocol/reed-solomon/kernel.js', import.meta.url).href;
  const script = `import { createKernel } from '${module}'; console.log(createKernel().name)`;
  const { stdout } = spawnSync(process.execPath, ['--jitless', '--input-type=module', '-e', script], { encoding: 'utf8' });
  t.equal(stdout, 'table\n');
});
