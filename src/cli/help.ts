import { styleText } from 'node:util';
import type { Environment } from '../config/environment.ts';
import { environmentName, FLAGS, type FlagShape } from '../config/flags.ts';
import { VERSION } from '../version.ts';
import { EXIT, type ExitCode } from './exit.ts';

/** `-help`. */
export function help(_words: readonly string[], environment: Environment): ExitCode {
  process.stdout.write(helpText(wantsColour(process.stdout, environment)));
  return EXIT.OK;
}

/** Whether the words ask for help; then nothing else that they say counts. */
export function asksForHelp(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end === -1 ? undefined : end).some((word) => /^--?(h|help)$/.test(word));
}

/** The text of `-help`: at most 80 columns wide. */
export function helpText(colour: boolean): string {
  const heading = (text: string) => bold(text, colour);
  return [
    `${heading(`qtunnel ${VERSION}`)}${INTRODUCTION}`,
    `${heading('Try it:')}\n${EXAMPLES}`,
    ...flagGroups(FLAGS, colour),
    FLAG_RULES,
    EXIT_CODES,
    MORE,
  ].join('\n');
}

/** A paragraph for each group of flags. */
export function flagGroups(flags: readonly FlagShape[], colour: boolean): string[] {
  return [...new Set(flags.map(({ group }) => group))].map((group) => {
    const lines = flags.filter((flag) => flag.group === group).map((flag) => describe(flag, colour));
    return `${bold(`${group}:`, colour)}\n${lines.join('\n')}\n`;
  });
}

export function bold(text: string, colour: boolean): string {
  return colour ? styleText('bold', text, { validateStream: false }) : text;
}

/** Whether to use colour on a stream: on a terminal, unless NO_COLOR (no-color.org) asks not to. */
export function wantsColour(
  stream: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  return stream.isTTY === true && (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb';
}

function describe(flag: FlagShape, colour: boolean): string {
  const name = `-${flag.name}${metavar(flag)}`;
  const lines = wrap(`${flag.help}${defaultOf(flag)}`, WIDTH - INDENT);
  const padded = `  ${name}`.padEnd(INDENT);
  const first = colour ? padded.replace(name, styleText('cyan', name, { validateStream: false })) : padded;
  const separate = padded.length > INDENT || !padded.endsWith(' ');
  const body = lines.map((line) => ' '.repeat(INDENT) + line);
  return separate ? [first, ...body].join('\n') : [first + (lines[0] ?? ''), ...body.slice(1)].join('\n');
}

function metavar({ kind, metavar: own }: FlagShape): string {
  const word = own ?? METAVARS[kind];
  return word === '' ? '' : `=${word}`;
}

function defaultOf(flag: FlagShape): string {
  const choices = flag.choices === undefined ? '' : `: ${flag.choices.join(', ')}`;
  if (flag.computed !== undefined) return `${choices} (default: ${flag.computed})`;
  if (flag.default === undefined || flag.default === null || flag.default === '' || flag.default === 'false') return choices;
  const off = flag.default === 'true' ? `; -${flag.name}=false turns it off` : '';
  return `${choices} (default ${flag.default}${off})`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

const WIDTH = 80;
const INDENT = 26;
const METAVARS = {
  boolean: '',
  string: 'TEXT',
  path: 'FILE',
  address: 'HOST:PORT',
  backends: 'HOST:PORT',
  name: 'NAME',
  clients: 'FILE',
  duration: 'TIME',
  size: 'SIZE',
  integer: 'N',
  rate: 'RATE',
  enum: 'WORD',
  fingerprint: 'SHA256',
  fingerprints: 'SHA256,…',
  fec: 'WORD',
  list: 'A,B',
  ports: 'FROM-TO',
} as const;

const INTRODUCTION = `: carries TCP connections through one encrypted connection

A client accepts TCP and carries every connection as a stream of one QUIC
connection to a server, which connects each of them to a TCP service. Where
UDP does not pass, the same command keeps working over TLS.
`;

const EXAMPLES = `  qtunnel -generate-cert
  qtunnel -listen=:9001 -backend=127.0.0.1:5201 -quic -secret=S
  qtunnel -listen=:8080 -backend=host:9001 -clientmode -quic -secret=S

  The first makes server.crt and server.key; a server also makes a certificate
  of its own when it has none. The second is a server in front of the service
  at port 5201, the third a client on another machine: what connects to its
  port 8080 reaches that service.

  qtunnel bench shows how fast all this is, on one machine or between two of
  yours: see qtunnel bench -help.

  qtunnel hub and qtunnel agent open public ports of a server that lead to
  services behind NAT: see qtunnel hub -help. qtunnel service installs any of
  these as a service, and qtunnel completion has a shell complete the words.
`;

const FLAG_RULES = `Write a flag with one dash or two, as -flag=value or -flag value; a boolean as
-flag, -flag=true or -flag=false. Addresses: :8080, host:443, [::1]:443.
Times: 500ms, 5s, 2m, 1h. Sizes: bytes, 64K, 4M, 1G. Rates: 100Mbit.

Each flag is also an environment variable, -idle-timeout for instance
${environmentName('idle-timeout')}, and a key in the file of -conf. The command line is
stronger than the environment, the environment than the file.
`;

const EXIT_CODES = `Exit codes: 0 done, or all connections had ended when it was stopped; 1 failed
while running, or connections were cut off; 2 wrong command line or file.
`;

const MORE = `SIGHUP reads the file and the certificates again, SIGTERM ends after the open
connections, a second one at once. More in the package's README.md and in its
docs folder: ERRORS.md, SECURITY.md, PROTOCOL.md, ARCHITECTURE.md.
`;
