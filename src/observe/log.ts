import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { camelCase, FLAGS } from '../config/flags.ts';
import type { ProcessSettings } from '../config/settings.ts';
import { serializeError } from './error-fields.ts';
import { type LogDestination, openDestination } from './log-destination.ts';
import { closeStderr } from './standard-error.ts';

export interface Log {
  readonly log: Logger;
  /** Opens a log file anew, after a rotation or when its disk has room again. */
  reopen(): void;
  /** Writes out what is still waiting. Nothing can be logged after it. */
  close(): Promise<void>;
}

/**
 * The process's log. Nothing that becomes of its destination later ends or holds up the process: a full disk or a dead syslog sends the lines to
 * standard error until it takes them again.
 * @throws QtunnelError `FILE_UNWRITABLE` when the destination cannot be opened.
 */
export async function createLog({
  logto,
  logLevel,
  logFormat,
}: Pick<ProcessSettings, 'logto' | 'logLevel' | 'logFormat'>): Promise<Log> {
  const format = logFormat === 'pretty' ? (await import('./pretty.ts')).prettyLine(hasColour(logto)) : null;
  const destination = openDestination(logto, format ?? undefined);
  const log = makeLogger(logLevel, format === null ? destination : prettyStream(destination, format));
  const close = async (): Promise<void> => {
    await destination.close();
    await closeStderr();
  };
  return { log, reopen: () => destination.reopen(), close };
}

/** A logger whose lines look as they do everywhere in qtunnel, wherever they go. */
export function makeLogger(level: ProcessSettings['logLevel'], stream: DestinationStream, base: object | null = null): Logger {
  const options: LoggerOptions<never> = {
    base: base as LoggerOptions['base'] & {},
    level,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: (error: unknown) => serializeError(error, log.isLevelEnabled('debug')) },
    redact: { paths: SECRET_PATHS, censor: '******' },
  };
  const log: Logger = pino<never>(options, stream);
  return log;
}

/** Writes a line that another thread's logger has made to where `log` writes its own; `level` in pino's numbers. */
export function writeLine(log: Logger, level: number, line: string): void {
  const stream = (log as unknown as Record<symbol, LogDestination>)[pino.symbols.streamSym]!;
  stream.lastLevel = level;
  stream.write(line);
}

function prettyStream(destination: LogDestination, format: (line: string) => string): LogDestination {
  return {
    ...PINO_METADATA,
    write(line) {
      destination.lastLevel = this.lastLevel;
      destination.write(format(line));
    },
    reopen: () => destination.reopen(),
    close: () => destination.close(),
  };
}

function hasColour(logto: string): boolean {
  const { NO_COLOR: noColour = '' } = process.env;
  return noColour === '' && ((logto === 'stdout' && isatty(1)) || (logto === 'stderr' && isatty(2)));
}

/** Makes pino tell the stream each line's level. */
const PINO_METADATA = { [Symbol.for('pino.metadata')]: true, lastLevel: 30 };

/** A second net, should settings ever be logged whole: a secret at the top or one level down. */
const SECRET_PATHS = FLAGS.filter((flag) => 'secret' in flag).flatMap(({ name }) => [camelCase(name), `*.${camelCase(name)}`]);
