import { setMaxListeners } from 'node:events';
import { readFlags } from '../cli/arguments.ts';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { wantsColour } from '../cli/help.ts';
import type { Environment } from '../config/environment.ts';
import { QtunnelError } from '../errors.ts';
import { measureHere } from './both.ts';
import { waitForBench } from './far.ts';
import { BENCH_FLAGS } from './flags.ts';
import { benchHelp } from './help.ts';
import { measure } from './near.ts';
import type { Results } from './results.ts';
import { TextScreen } from './screen.ts';
import { type BothSettings, type NearSettings, settleBench } from './settings.ts';
import { notesOf } from './table.ts';

/**
 * `qtunnel bench`.
 * @param words the command line after `bench`.
 * @returns 0 when everything was measured and every transfer was whole, else 1; a far end's is 0.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, and what keeps it from beginning.
 */
export async function bench(words: readonly string[], environment: Environment): Promise<ExitCode> {
  const flags = readFlags(words, { flags: BENCH_FLAGS, help: 'qtunnel bench -help' });
  if (flags.get('help')?.value === true) return print(benchHelp(wantsColour(process.stdout, environment)));
  const settings = settleBench(flags, environment);
  return await untilSignal(async (signal) => {
    if (settings.end !== 'far') return await nearEnd(settings, environment, signal);
    await waitForBench(settings, (line) => print(`${line}\n`), signal);
    return EXIT.OK;
  });
}

async function nearEnd(settings: NearSettings | BothSettings, environment: Environment, signal: AbortSignal): Promise<ExitCode> {
  const { json } = settings.wanted;
  const screen = new TextScreen(process.stdout, process.stderr, { json, colour: wantsColour(process.stdout, environment) });
  const results = await resultsOf(settings, screen, signal).finally(() => screen.end());
  if (json) print(`${JSON.stringify(results, null, 2)}\n`);
  else for (const [index, note] of notesOf(results).entries()) print(`${index === 0 ? '\n' : ''}${note}\n`);
  return isWell(results) ? EXIT.OK : EXIT.FAILED;
}

function resultsOf(settings: NearSettings | BothSettings, screen: TextScreen, signal: AbortSignal): Promise<Results> {
  if (settings.end === 'both') return measureHere(settings, screen, signal);
  return measure({ settings: settings.tunnel, wanted: settings.wanted, loopback: false }, screen, signal);
}

function isWell({ complete, problems, throughput, sizes, latency, reliability }: Results): boolean {
  return (
    complete &&
    problems.length === 0 &&
    [...throughput, ...sizes].every(({ failed, bytes }) => failed === 0 && bytes > 0) &&
    latency.every(({ roundTrip }) => roundTrip !== null) &&
    reliability.every(({ whole, transfers }) => whole === transfers)
  );
}

/** SIGINT and SIGTERM end what runs in an orderly way; what is stopped before it has anything to show says so. */
async function untilSignal(run: (signal: AbortSignal) => Promise<ExitCode>): Promise<ExitCode> {
  const controller = new AbortController();
  // Each connection listens to it.
  setMaxListeners(0, controller.signal);
  const stop = (): void => controller.abort(new QtunnelError('ABORTED', 'The bench was stopped.'));
  for (const name of SIGNALS) process.on(name, stop);
  // Who reads has gone, as in `qtunnel bench | head`.
  process.stdout.on('error', stop);
  try {
    return await run(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
}

function print(text: string): ExitCode {
  process.stdout.write(text);
  return EXIT.OK;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
