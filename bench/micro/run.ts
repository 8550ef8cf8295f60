import { mkdirSync, writeFileSync } from 'node:fs';
import { Bench } from 'tinybench';
import type { Task } from 'tinybench';
import yargs from 'yargs';
import { commit, machine } from '../report/conditions.ts';
import { blockCases } from './blocks.ts';
import type { Case, MakeCases } from './case.ts';
import { creditCases } from './credit.ts';
import { frameCases } from './frames.ts';
import { linkCases } from './link.ts';
import { udpCases } from './udp.ts';

/**
 * Measures parts of qtunnel by themselves, in this process. The table goes to standard output and to bench/results/.
 *
 *     npm run bench:micro -- --only=blocks --milliseconds=2000
 */
async function micro(): Promise<void> {
  const { only, milliseconds } = readArguments();
  const lines = ['| | operation | MB/s | ± | runs |', '|---|---|---|---|---|'];
  for (const make of GROUPS)
    for (const one of await make()) {
      if (one.name.includes(only)) lines.push(row(one, await measure(one, milliseconds)));
      await one.close?.();
    }
  const now = new Date().toISOString();
  const conditions = `${now.slice(0, 16).replace('T', ' ')} UTC, qtunnel ${commit()}, Node ${process.version}; ${machine()}. Medians.`;
  const text = `${lines.join('\n')}\n\n${conditions}\n`;
  mkdirSync('bench/results', { recursive: true });
  writeFileSync(`bench/results/${now.slice(0, 19).replaceAll(':', '')}-micro.md`, text);
  process.stdout.write(text);
}

async function measure({ name, run }: Case, milliseconds: number): Promise<Task> {
  const bench = new Bench({ time: milliseconds, warmupTime: milliseconds / 4, throws: true });
  bench.add(name, run);
  console.error(name);
  const [task] = await bench.run();
  return task!;
}

function row({ name, bytes, operations }: Case, { result }: Task): string {
  if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
  const { p50, rme, samplesCount } = result.latency;
  const speed = bytes === 0 ? '–' : (bytes / 1e3 / p50).toFixed(0);
  return `| ${name} | ${duration(p50 / operations)} | ${speed} | ${rme.toFixed(1)}% | ${samplesCount} |`;
}

function duration(milliseconds: number): string {
  if (milliseconds >= 0.1) return `${milliseconds.toFixed(2)} ms`;
  return milliseconds >= 0.001 ? `${(milliseconds * 1e3).toFixed(2)} µs` : `${(milliseconds * 1e6).toFixed(0)} ns`;
}

function readArguments(): { only: string; milliseconds: number } {
  return yargs(process.argv.slice(2))
    .scriptName('npm run bench:micro --')
    .option('only', { type: 'string', default: '', describe: 'cases whose name has this in it' })
    .option('milliseconds', { type: 'number', default: 1_000, describe: 'how long each case is measured' })
    .detectLocale(false)
    .version(false)
    .strict()
    .parseSync();
}

const GROUPS: readonly MakeCases[] = [frameCases, creditCases, blockCases, linkCases, udpCases];

await micro();
// What the driver leaves behind is no reason to stay.
process.exit();
