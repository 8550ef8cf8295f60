import pinoPretty from 'pino-pretty';
import { plainText } from './plain-text.ts';

/**
 * Makes one of pino's JSON lines readable: `12:00:00.000 INFO  web: message key=value`, where `web` is the tunnel when there are several. A stack follows
 * on lines of its own.
 */
export function prettyLine(colour: boolean): (line: string) => string {
  const format = pinoPretty.prettyFactory({
    colorize: colour,
    hideObject: true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    customPrettifiers: {
      time: (time) => String(time),
      level: (level, _key, _log, { labelColorized }) =>
        labelColorized + ' '.repeat(Math.max(0, LONGEST_LEVEL - String(level).length)),
    },
    messageFormat: (log, messageKey) => message(log, messageKey),
  });
  return (line) => String(format(line));
}

function message(log: Readonly<Record<string, unknown>>, messageKey: string): string {
  const { tunnel } = log;
  const prefix = tunnel === undefined || tunnel === ONLY_TUNNEL ? '' : `${plain(tunnel)}: `;
  const pairs = Object.entries(log)
    .filter(([key]) => key !== messageKey && !OWN_PLACE.has(key))
    .flatMap(([key, value]) => flatten(key, value));
  const stack = stackOf(log['err']);
  return prefix + [plain(log[messageKey] ?? ''), ...pairs].join(' ') + stack;
}

function flatten(key: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null) return [`${key}=${quoted(value)}`];
  if (Array.isArray(value)) return [`${key}=${quoted(value.map(String).join(','))}`];
  return Object.entries(value)
    .filter(([inner]) => inner !== 'stack')
    .flatMap(([inner, leaf]) => flatten(`${key}.${inner}`, leaf));
}

function quoted(value: unknown): string {
  const text = String(value);
  return /^[^\s"=]+$/.test(text) && plain(text) === text ? text : JSON.stringify(text);
}

/** What a peer sent may be in a message: no line breaks and no terminal's control sequences. */
function plain(value: unknown): string {
  return plainText(String(value));
}

function stackOf(error: unknown): string {
  const stack = typeof error === 'object' && error !== null && 'stack' in error ? error.stack : undefined;
  return typeof stack === 'string' ? `\n${stack.split('\n').map(plain).join('\n')}` : '';
}

const LONGEST_LEVEL = 5;
/** The tag of a tunnel that needs none. */
const ONLY_TUNNEL = 'default';
/** What has a place of its own in the line, and what says for programs what the message says for people. */
const OWN_PLACE = new Set([
  ...['level', 'time', 'tunnel', 'event'],
  ...[
    'udp',
    'tcp',
    'backend',
    'fingerprint',
    'transport',
    'peer',
    'port',
    'rtt',
    'address',
    'signal',
    'drained',
    'code',
    'reason',
    'retryIn',
  ],
]);
