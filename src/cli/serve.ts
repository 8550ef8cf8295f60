import type { Environment } from '../config/environment.ts';
import type { Configuration } from '../config/load.ts';
import { createLog } from '../observe/log.ts';
import { serviceManager } from '../service/notify.ts';
import type { Supervised } from '../supervise/supervised.ts';
import { runTunnels } from '../tunnel/run.ts';
import type { ExitCode } from './exit.ts';
import { untilStopped } from './life.ts';

export interface Serving {
  readonly configuration: Configuration;
  /** Reads it again. */
  readonly load: () => Promise<Configuration>;
  readonly warnings: readonly string[];
  readonly supervised: Supervised | null;
  readonly environment: Environment;
}

/** Runs the tunnels until they are stopped. @throws QtunnelError when they do not start. */
export async function serve({ configuration, load, warnings, supervised, environment }: Serving): Promise<ExitCode> {
  const log = await createLog(configuration.process);
  try {
    for (const warning of warnings) log.log.warn({ event: 'warning' }, warning);
    const { metrics, workers, maxMemory } = configuration.process;
    const context = { log: log.log, metrics, workers, maxMemory, ...supervised?.context };
    const running = await runTunnels(configuration.tunnels, context);
    supervised?.handleReady(running);
    const signals = supervised?.signals ?? process;
    // A supervisor speaks for its children.
    const manager = supervised === null ? { manager: serviceManager(environment) } : {};
    return await untilStopped(running, { log, load, current: configuration.process, signals, ...manager });
  } catch (err) {
    // Standard error is told by main; who watches a file or syslog looks there.
    if (configuration.process.logto !== 'stderr') log.log.error({ event: 'failed', err }, 'the tunnels did not start');
    throw err;
  } finally {
    await log.close();
  }
}
