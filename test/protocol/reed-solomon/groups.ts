import { COLUMNS } from '../../../src/protocol/reed-solomon/matrix.ts';
import { multiply } from '../../../src/protocol/reed-solomon/field.ts';
import { ParityEncoder } from '../../../src/protocol/reed-solomon/encoder.ts';
import type { Kernel } from '../../../src/protocol/reed-solomon/kernel.ts';

/** Parity as its definition says, byte by byte. */
export function parityByDefinition(data: readonly Uint8Array[], count: number): Uint8Array[] {
  const length = Math.max(...data.map((shard) => shard.length));
  return Array.from({ length: count }, (_, j) =>
    Uint8Array.from({ length }, (__, at) => data.reduce((sum, shard, i) => sum ^ multiply(COLUMNS[i]![j]!, shard[at] ?? 0), 0)),
  );
}

export function encode(kernel: Kernel, data: readonly Uint8Array[], count: number): Uint8Array[] {
  const encoder = new ParityEncoder(kernel);
  encoder.begin(count);
  data.forEach((shard, i) => encoder.add(i, shard));
  const parity = Array.from({ length: count }, (_, j) => encoder.parity(j).slice());
  encoder.end();
  return parity;
}

export function padded(shard: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  whole.set(shard);
  return whole;
}
