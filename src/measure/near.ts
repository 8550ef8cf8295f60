import { serverOf, type TunnelSettings } from '../config/settings.ts';
import { formatAddress } from '../link/address.ts';
import { VERSION } from '../version.ts';
import { measureLatency } from './latency.ts';
import type { Path } from './paths.ts';
import { type Finding, perform, planOf, secondsOf, type Step, TITLES } from './plan.ts';
import type { PathFacts, PathName, Results } from './results.ts';
import type { Screen } from './screen.ts';
import type { Wanted } from './settings.ts';
import { measureThroughput } from './throughput.ts';
import { formatMilliseconds, formatSeconds } from './units.ts';
import { findWays } from './ways.ts';

export interface NearPlan {
  /** A client's: which transports it allows says what is measured. */
  readonly settings: TunnelSettings;
  readonly wanted: Wanted;
  /** Whether the far end is on this machine, made for this run. */
  readonly loopback: boolean;
}

/**
 * Measures against a far end that waits there. When the signal fires, what has been found so far is returned.
 * @throws QtunnelError when no tunnel leads there; `ABORTED` when the signal fires before that is known.
 */
export async function measure(plan: NearPlan, screen: Screen, signal: AbortSignal): Promise<Results> {
  const { settings, wanted } = plan;
  screen.prepare(`looking for the far end at ${formatAddress(serverOf(settings))}`);
  const ways = await findWays(settings, signal);
  try {
    const steps = planOf(wanted);
    const trips = new Map<PathName, number | null>();
    for (const path of ways.paths) {
      screen.prepare(`warming up: ${TITLES[path.name]}`);
      trips.set(path.name, await warmUp(path, signal));
    }
    for (const line of headline(plan, trips, steps)) screen.say(line);
    screen.begin([...trips.keys()], steps);
    const findings: Finding[] = [];
    for (const step of steps) findings.push(...(await overAll(step, ways.paths, screen, signal)));
    const paths = ways.paths.map(({ name, linksLost }): PathFacts => ({ path: name, rtt: trips.get(name) ?? null, linksLost }));
    return { ...factsOf(plan), paths, ...sorted(findings), problems: ways.problems, complete: !signal.aborted };
  } finally {
    await ways.close();
  }
}

/** What is found when the signal fires in the middle is none. */
async function overAll(step: Step, paths: readonly Path[], screen: Screen, signal: AbortSignal): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const path of paths) {
    if (signal.aborted) break;
    const tell = (how: string): void => screen.going(step, path.name, how);
    tell('');
    const finding = await perform(step, path, signal, tell);
    if (signal.aborted) break;
    screen.found(step, path.name, finding);
    findings.push(finding);
  }
  if (findings.length > 0) screen.row({ step, findings });
  return findings;
}

/**
 * A program that has just started is slower than one that has been running; a tunnel is mostly the latter.
 * @returns the usual time of a small round trip in milliseconds; null when none came back.
 */
async function warmUp(path: Path, signal: AbortSignal): Promise<number | null> {
  for (const direction of ['up', 'down'] as const) {
    const plan = { direction, connections: 1, writeSize: 65_536, seconds: WARM_UP_SECONDS };
    if (!signal.aborted) await measureThroughput(path, plan, signal, () => {});
  }
  const { roundTrip } = await measureLatency(path, { size: 64, seconds: WARM_UP_SECONDS }, signal, () => {});
  return roundTrip?.p50 ?? null;
}

function headline({ settings, loopback }: NearPlan, trips: ReadonlyMap<PathName, number | null>, steps: readonly Step[]): string[] {
  const ways = [...trips].map(
    ([name, rtt]) => TITLES[name] + (rtt === null ? '' : ` (there and back in ${formatMilliseconds(rtt)})`),
  );
  const where = loopback ? 'both ends on this machine, over loopback' : formatAddress(serverOf(settings));
  const seconds = steps.reduce((sum, step) => sum + secondsOf(step), 0) * trips.size;
  const each = `${steps.length * trips.size} measurements, about ${formatSeconds(seconds)}`;
  return [`qtunnel bench ${VERSION}: ${where}`, ways.join(', '), `${each}; Ctrl-C ends it`];
}

function factsOf({ settings, wanted, loopback }: NearPlan): Pick<Results, 'qtunnel' | 'date' | 'node' | 'backend' | 'secondsEach'> {
  return {
    qtunnel: VERSION,
    date: new Date().toISOString(),
    node: process.version,
    backend: loopback ? null : formatAddress(serverOf(settings)),
    secondsEach: wanted.seconds,
  };
}

function sorted(findings: readonly Finding[]): Pick<Results, 'throughput' | 'sizes' | 'latency' | 'reliability'> {
  const of = <T extends Finding['test']>(test: T) =>
    findings.filter((finding) => finding.test === test).map(({ figure }) => figure as Extract<Finding, { test: T }>['figure']);
  return { throughput: of('throughput'), sizes: of('sizes'), latency: of('latency'), reliability: of('reliability') };
}

const WARM_UP_SECONDS = 0.3;
