import { type Fec, formatFec } from '../protocol/fec.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { type CamelCase, camelCase, type FlagName, type Given, TUNNEL_FLAGS, type TunnelFlag } from './flags.ts';
import { type Layer, type LayerValue, quote, readValue } from './layer.ts';
import { settleTunnel } from './settle.ts';
import type { Address, TunnelSettings } from './settings.ts';
import { suggestion } from './suggest.ts';

/**
 * The library's options: a tunnel's flags in camel case. A value may be of its own type (`{ host, port }`, milliseconds, bytes, true) or
 * text as on the command line (`'host:443'`, `'5s'`, `'64K'`). What is left out has the flag's default; the environment's `QTUNNEL_…`
 * is not read.
 */
export type TunnelOptions = { readonly [One in TunnelFlag as CamelCase<One['name']>]?: Option<One> | undefined } & {
  /** The tunnel's name in logs and metrics; `default` when left out. */
  readonly tag?: string | undefined;
};

type Option<F extends TunnelFlag> = F extends { choices: readonly string[] }
  ? Given<F>
  : F extends { kind: 'clients' }
    ? string | null
    : F extends { kind: 'backends' }
      ? Address | string | readonly string[]
      : Given<F> | string | (F['default' & keyof F] & null);

/** @throws QtunnelError `CONFIG_INVALID` that names the option and what was expected. */
export function settingsFromOptions(options: TunnelOptions): TunnelSettings {
  const { tag = 'default', ...others } = options;
  const values = new Map<FlagName, LayerValue>();
  for (const [option, value] of Object.entries(others)) {
    const flag = TUNNEL_FLAGS.find(({ name }) => camelCase(name) === option);
    if (flag === undefined) throw unknownOption(option);
    if (value === undefined || (value === null && 'default' in flag && flag.default === null)) continue;
    values.set(flag.name, readValue(flag, asText(flag, option, value), option, 'CONFIG_INVALID'));
  }
  const layer: Layer = { shared: false, values };
  return settleTunnel(tag, [layer], process.env);
}

/** @throws QtunnelError `CONFIG_INVALID` when the option cannot have this value. */
export function checkOption(option: string, value: unknown): void {
  const flag = TUNNEL_FLAGS.find(({ name }) => camelCase(name) === option);
  if (flag !== undefined) readValue(flag, asText(flag, option, value), option, 'CONFIG_INVALID');
}

/** As it would stand on a command line, so that an option is held to the same bounds. */
function asText(flag: TunnelFlag, option: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' && flag.kind === 'boolean') return String(value);
  if (typeof value === 'number') return `${value}${{ duration: 'ms', rate: 'bit' }[flag.kind as string] ?? ''}`;
  if (flag.kind === 'backends' && Array.isArray(value)) return value.join(',');
  if ((flag.kind === 'address' || flag.kind === 'backends') && isAddress(value)) return formatAddress(value);
  if (flag.kind === 'fec' && isFec(value)) return formatFec(value);
  const shown = 'secret' in flag ? 'a value of another type' : quote(value);
  throw new QtunnelError('CONFIG_INVALID', `${option}: expected ${TYPE_NAMES[flag.kind]}, got ${shown}`);
}

function isAddress(value: unknown): value is Address {
  if (typeof value !== 'object' || value === null) return false;
  return 'host' in value && 'port' in value && typeof value.host === 'string' && typeof value.port === 'number';
}

function isFec(value: unknown): value is Exclude<Fec, string> {
  if (typeof value !== 'object' || value === null) return false;
  return 'data' in value && 'parity' in value && typeof value.data === 'number' && typeof value.parity === 'number';
}

function unknownOption(option: string): QtunnelError {
  const known = TUNNEL_FLAGS.map(({ name }) => camelCase(name));
  return new QtunnelError('CONFIG_INVALID', `${option} is not an option${suggestion(option, known, '')}`);
}

const TYPE_NAMES = {
  boolean: 'true or false',
  string: 'text',
  path: "a file's path",
  address: "{ host, port } or text such as 'host:443'",
  backends: "{ host, port }, text such as 'host:443', or a list of texts such as 'web=host:443'",
  name: 'a name',
  clients: "a file's path",
  duration: "milliseconds or text such as '5s'",
  size: "bytes or text such as '64K'",
  integer: 'a whole number',
  rate: "bits a second or text such as '100Mbit'",
  enum: 'one of its words',
  fingerprint: 'a SHA-256 fingerprint of 64 hexadecimal digits',
  fingerprints: 'SHA-256 fingerprints of 64 hexadecimal digits',
  ports: "text such as '10000-10010'",
  fec: "'auto', 'off', { data, parity } or text such as '10:1'",
} as const;
