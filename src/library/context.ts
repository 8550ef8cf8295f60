import { pino } from 'pino';
import { TunnelMetrics } from '../observe/tunnel-metrics.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import type { TunnelEvents } from '../tunnel/events.ts';
import type { ProgramOptions } from './options.ts';

/** What a tunnel is given when a program starts it: the program's log or none. */
export function libraryContext(tag: string, { log = SILENT }: ProgramOptions, events: TunnelEvents): TunnelContext {
  return { log: log.child({ tunnel: tag }), metrics: new TunnelMetrics(tag), events };
}

/** Without a destination of its own pino would open standard output. */
const SILENT = pino({ level: 'silent' }, { write() {} });
