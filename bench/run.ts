import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { missing } from '../test/support/programs.ts';
import type { Contender } from './contender.ts';
import { CONTENDERS } from './contenders/index.ts';
import { cpuSeconds } from './cpu.ts';
import { IperfServer, LOADS } from './iperf.ts';
import { report } from './report.ts';
import type { Measurement } from './report.ts';

/**
 * Measures all contenders side by side; README.md has the method. The table goes to standard output and to bench/results/, progress
 * to standard error.
 *
 *     npm run bench -- --rounds=3 --seconds=5 --only=qtunnel
 */
async function bench(): Promise<void> {
  const { rounds, seconds, only } = readArguments();
  const absent = missing('iperf3');
  if (absent) throw new Error(absent);

  const chosen = CONTENDERS.filter(({ name }) => name.includes(only));
  const skipped = chosen.flatMap((contender) => contender.available() ?? []);
  const present = chosen.filter((contender) => contender.available() === null);
  const measurements: Measurement[] = [];
  const backend = await IperfServer.start();
  try {
    // Round by round, so that a slow minute of the machine hits all contenders alike.
    for (let round = 1; round <= rounds; round++)
      for (const contender of present) measurements.push(...(await measure(contender, backend, seconds, `${round}/${rounds}`)));
  } finally {
    await backend.stop();
  }
  publish(report(measurements, { rounds, seconds, skipped }));
}

async function measure(contender: Contender, backend: IperfServer, seconds: number, round: string): Promise<Measurement[]> {
  const running = await contender.start(backend.port);
  const measurements: Measurement[] = [];
  try {
    for (const load of LOADS) {
      const before = cpuSeconds(running.pids);
      const { bytes, bytesPerSecond } = await backend.transfer(running.port, load, seconds);
      const cpu = running.pids.length > 0 ? cpuSeconds(running.pids) - before : Number.NaN;
      const measurement = {
        contender: contender.name,
        load: load.name,
        megabytesPerSecond: bytesPerSecond / 1e6,
        cpuSecondsPerGigabyte: (cpu / bytes) * 1e9,
      };
      measurements.push(measurement);
      console.error(`${round} ${contender.name}, ${load.name}: ${measurement.megabytesPerSecond.toFixed(0)} MB/s`);
    }
  } finally {
    await running.stop();
  }
  return measurements;
}

function publish(table: string): void {
  const folder = 'bench/results';
  mkdirSync(folder, { recursive: true });
  const file = `${folder}/${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.md`;
  writeFileSync(file, table);
  console.log(table);
  console.error(`Written to ${file}`);
}

function readArguments(): { rounds: number; seconds: number; only: string } {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
    },
  });
  return { rounds: positive('rounds', values.rounds), seconds: positive('seconds', values.seconds), only: values.only };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} is a whole number from 1 on, not "${text}"`);
  return value;
}

try {
  await bench();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
