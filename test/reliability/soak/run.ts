import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { drawLines } from '../../../bench/report/chart.ts';
import { eventually } from '../../support/deadline.ts';
import type { Owner } from '../../support/process.ts';
import { openDescriptors } from '../../support/processes.ts';
import { progress } from '../../support/progress.ts';
import { MODES } from '../../support/qtunnel.ts';
import { interrupt, withScope } from '../../support/scope.ts';
import { DESCRIPTORS, growth, MEMORY, quarters, Samples } from './samples.ts';
import { SoakedTunnel } from './tunnel.ts';

/** Keeps two tunnels, QUIC and TCP mode, under mixed load with faults for so many minutes; ../README.md has the method. Exit 1 when something was not as it has to be. */
async function soak(minutes: number): Promise<void> {
  await withScope(async (owner) => {
    const tunnels = await Promise.all(MODES.map((mode) => SoakedTunnel.start(owner, mode)));
    const names = new Map(
      tunnels.flatMap((tunnel): [string, () => number][] => [
        [`${tunnel.mode} server`, () => tunnel.server.process.pid],
        [`${tunnel.mode} client`, () => tunnel.client.process.pid],
      ]),
    );
    const samples = new Samples(names, SAMPLE_MS);
    owner.teardown(() => samples.stop());
    await fault(owner, tunnels, minutes);
    samples.stop();

    const problems: string[] = [];
    for (const tunnel of tunnels) {
      console.log(`${tunnel.mode}: ${await tunnel.stop()}`);
      for (const wrong of tunnel.loads.flatMap(({ wrongs }) => wrongs)) problems.push(`${tunnel.mode}: ${wrong.message}`);
    }
    for (const tunnel of tunnels)
      for (const side of ['server', 'client'] as const) problems.push(...(await leftOpen(tunnel, side)));
    for (const [name, taken] of samples.of)
      for (const quantity of [MEMORY, DESCRIPTORS]) {
        const medians = quarters(taken, quantity).map((value) => (value / quantity.unit).toFixed(0));
        console.log(`${name}: ${quantity.unitName} in the quarters of the time, medians: ${medians.join(', ')}`);
        const problem = growth(taken, quantity);
        if (problem !== null) problems.push(`${name} is not flat: ${problem}`);
      }
    console.log(`Plotted in ${plot(samples)}`);
    for (const problem of problems) console.log(`FAILED: ${problem}`);
    if (problems.length > 0) process.exitCode = 1;
    else console.log('Memory and descriptors are flat, descriptors are back, nothing hung and no byte was wrong.');
  });
}

/** Descriptors that are not closed after all connections have ended. */
async function leftOpen(tunnel: SoakedTunnel, side: 'server' | 'client'): Promise<string[]> {
  const { pid } = tunnel[side].process;
  const before = tunnel.atRest[side];
  try {
    await eventually('few descriptors', () => openDescriptors(pid) <= before + SPARE_DESCRIPTORS, POOL_SHRINKS_MS);
    return [];
  } catch {
    return [`${tunnel.mode} ${side}: ${openDescriptors(pid)} descriptors after the end, ${before} before the load`];
  }
}

/** The server dies in the first half only: memory that begins anew cannot be seen to grow. */
async function fault(owner: Owner, tunnels: readonly SoakedTunnel[], minutes: number): Promise<void> {
  const step = (minutes * 60_000) / STEPS;
  for (let number = 1; number <= STEPS; number++) {
    await sleep(step);
    const kind = number <= STEPS / 2 && number % 2 === 0 ? 'server killed' : number % 3 === 0 ? 'blackout' : 'client moved';
    progress(`${number} of ${STEPS}: ${kind}`);
    for (const tunnel of tunnels)
      if (kind === 'server killed') await tunnel.killServer(owner);
      else if (kind === 'blackout') await tunnel.blackOut();
      else await tunnel.moveClient();
  }
}

function plot({ of }: Samples): string {
  const folder = `bench/results/soak-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}`;
  mkdirSync(folder, { recursive: true });
  const lines = (value: 'rss' | 'descriptors', unit: number) =>
    new Map([...of].map(([name, samples]) => [name, samples.map((sample) => [sample.at, sample[value] / unit] as const)]));
  writeFileSync(`${folder}/memory.svg`, drawLines('Memory (RSS)', { x: 'minutes', y: 'MB' }, lines('rss', 2 ** 20)));
  writeFileSync(`${folder}/descriptors.svg`, drawLines('Descriptors', { x: 'minutes', y: '' }, lines('descriptors', 1)));
  writeFileSync(`${folder}/samples.json`, JSON.stringify(Object.fromEntries(of)));
  return folder;
}

const STEPS = 20;
const SAMPLE_MS = 1000;
/** The warm pool of TCP mode is not always the same size, and lets half of what it does not need go every 5 s. */
const SPARE_DESCRIPTORS = 16;
const POOL_SHRINKS_MS = 60_000;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void interrupt().finally(() => process.exit(1)));

const [minutes = '30'] = process.argv.slice(2);
if (Number(minutes) > 0) await soak(Number(minutes));
else {
  console.error(`How many minutes? Not "${minutes}".`);
  process.exitCode = 1;
}
process.exit();
