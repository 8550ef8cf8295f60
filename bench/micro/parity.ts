import { ParityDecoder } from '../../src/protocol/reed-solomon/decoder.ts';
import { ParityEncoder } from '../../src/protocol/reed-solomon/encoder.ts';
import { createKernel, type Kernel } from '../../src/protocol/reed-solomon/kernel.ts';
import { TableKernel } from '../../src/protocol/reed-solomon/table-kernel.ts';

/**
 * How fast parity is made and lost shards are rebuilt, in MB of data a second of this process's CPU time: the median of `ROUNDS` rounds, taken in turn over
 * all cases so that a busy machine slows all alike. Run: `npx tsc -p bench/tsconfig.json && node build/bench/micro/parity.js`.
 */
function main(): void {
  const cases = GROUPS.flatMap(([k, p]) => [createKernel(), new TableKernel()].flatMap((kernel) => casesOf(kernel, k, p)));
  for (const { run } of cases) measure(run, WARM_UP);
  for (let round = 0; round < ROUNDS; round++) for (const it of cases) it.speeds.push(it.bytes / measure(it.run, ROUND));
  console.log(`Shards of ${SHARD} bytes; MB of data a CPU second, median (least – most) of ${ROUNDS}; ns for each data shard\n`);
  console.log('| group | what | kernel | MB/s | ns a shard |\n|---|---|---|---|---|');
  for (const it of cases) console.log(row(it));
}

interface Case {
  readonly group: string;
  readonly what: string;
  readonly kernel: string;
  /** Of data that one run works on. */
  readonly bytes: number;
  readonly run: () => void;
  /** Bytes a microsecond. */
  readonly speeds: number[];
}

function casesOf(kernel: Kernel, k: number, p: number): Case[] {
  const data = Array.from({ length: k }, () => Uint8Array.from({ length: SHARD }, () => Math.random() * 256));
  const parity = Array.from({ length: p }, () => new Uint8Array(SHARD));
  const encoder = new ParityEncoder(kernel);
  const encode = (): void => {
    encoder.begin(p);
    for (let i = 0; i < k; i++) encoder.add(i, data[i]!);
    for (let j = 0; j < p; j++) parity[j]!.set(encoder.parity(j));
    encoder.end();
  };
  encode();
  const decoder = new ParityDecoder(kernel);
  const targets = parity.map(() => new Uint8Array(SHARD));
  const decode = (lost: number): (() => void) => {
    const given = data.map((shard, i) => (i % 3 === 0 && i < 3 * lost ? null : shard));
    return () => {
      if (!decoder.reconstruct(given, parity, targets)) throw new Error('A group could not be rebuilt.');
    };
  };
  const of = (what: string, run: () => void): Case => ({
    group: `${k} + ${p}`,
    what,
    kernel: kernel.name,
    bytes: k * SHARD,
    run,
    speeds: [],
  });
  return [of('encode', encode), ...[...new Set([1, p])].map((lost) => of(`rebuild ${lost}`, decode(lost)))];
}

/** Microseconds of CPU for one run, over runs that take `enough` microseconds. */
function measure(run: () => void, enough: number): number {
  const start = process.cpuUsage();
  for (let runs = BATCH; ; runs += BATCH) {
    for (let n = 0; n < BATCH; n++) run();
    const { user, system } = process.cpuUsage(start);
    if (user + system >= enough) return (user + system) / runs;
  }
}

function row({ group, what, kernel, speeds }: Case): string {
  const sorted = speeds.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)]!;
  const spread = `${sorted[0]!.toFixed(0)} – ${sorted.at(-1)!.toFixed(0)}`;
  return `| ${group} | ${what} | ${kernel} | ${median.toFixed(0)} (${spread}) | ${((SHARD / median) * 1000).toFixed(0)} |`;
}

const GROUPS: [k: number, p: number][] = [
  [12, 1],
  [12, 2],
  [8, 2],
  [44, 3],
  [44, 8],
];
const SHARD = 1400;
const ROUNDS = 5;
const BATCH = 20;
/** Microseconds. */
const ROUND = 30_000;
const WARM_UP = 60_000;

main();
