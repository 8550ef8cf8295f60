import { QtunnelError } from '../errors.ts';
import { findFlag, type FlagName } from './flags.ts';
import { formatAddress } from '../link/address.ts';
import { DEFAULT_BACKEND, type NamedAddress } from './settings.ts';
import { given, type Layer, type LayerValue, withoutValues } from './layer.ts';
import { formatDuration, parseValue } from './values.ts';

/**
 * Takes out of a tunnel's layers what a stronger layer rules out (a `-secret` on the command line over the file's `secret-file`), and
 * refuses what one person cannot have meant at once.
 * @throws QtunnelError `CONFIG_INVALID`
 */
export function withoutContradictions(layers: readonly Layer[]): readonly Layer[] {
  const client = given(layers, 'clientmode')?.value ?? false;
  const fitting = layers.map((layer) => withoutOtherRole(layer, client));
  const settled = EXCLUSIVE.reduce(withoutWeaker, fitting);
  refuseHalfCertificate(settled);
  refuseSlowKeepalive(settled);
  refuseChoiceOfOne(settled);
  refuseUnsafeEarlyData(settled);
  refuseUnclearBackends(settled, client);
  refuseNameWithoutProof(settled);
  return settled;
}

/** Whether a flag means nothing for this role. */
export function isForOtherRole(name: FlagName, client: boolean): boolean {
  const flag = findFlag(name);
  return flag !== undefined && 'only' in flag && flag.only !== (client ? 'client' : 'server');
}

/** The sentence for a flag that was given to the wrong role. */
export function otherRole(name: FlagName, where: string, client: boolean): QtunnelError {
  const advice = client
    ? 'leave it out'
    : `${name === 'insecure' ? 'a server trusts nobody by certificate; ' : ''}add -clientmode, or leave it out`;
  return invalid(
    `${where} is for a ${client ? 'server' : 'client'}, and this tunnel is a ${client ? 'client' : 'server'}: ${advice}`,
  );
}

function withoutOtherRole(layer: Layer, client: boolean): Layer {
  for (const [name, { where, value }] of layer.values) {
    if (!layer.shared && value !== false && isForOtherRole(name, client)) throw otherRole(name, where, client);
  }
  return withoutValues(layer, (name) => isForOtherRole(name, client));
}

function withoutWeaker(layers: readonly Layer[], [one, other, why]: (typeof EXCLUSIVE)[number]): Layer[] {
  const first = strongest(layers, one);
  const second = strongest(layers, other);
  if (first === undefined || second === undefined) return [...layers];
  if (first.depth === second.depth) throw invalid(`${first.where} and ${second.where} contradict each other: ${why}`);
  const weaker = first.depth < second.depth ? other : one;
  return layers.map((layer) => withoutValues(layer, (name) => name === weaker));
}

function strongest(layers: readonly Layer[], name: FlagName): (LayerValue & { depth: number }) | undefined {
  const depth = layers.findIndex(({ values }) => values.has(name));
  const found = layers[depth]?.values.get(name);
  return found === undefined || found.value === false ? undefined : { ...found, depth };
}

function refuseHalfCertificate(layers: readonly Layer[]): void {
  const certificate = given(layers, 'cert-file');
  const key = given(layers, 'key-file');
  if (certificate !== undefined && key === undefined)
    throw invalid(`${certificate.where} needs the certificate's private key: add key-file`);
  if (key !== undefined && certificate === undefined)
    throw invalid(`${key.where} needs the certificate that belongs to it: add cert-file`);
}

function refuseSlowKeepalive(layers: readonly Layer[]): void {
  const keepalive = given(layers, 'keepalive');
  const idle = given(layers, 'idle-timeout');
  const interval = keepalive?.value ?? defaultDuration('keepalive');
  const limit = idle?.value ?? defaultDuration('idle-timeout');
  if (interval < limit) return;
  const [where, expected] =
    keepalive === undefined
      ? [idle?.where, `more than keepalive's ${formatDuration(interval)}, got "${formatDuration(limit)}"`]
      : [keepalive.where, `less than idle-timeout's ${formatDuration(limit)}, got "${formatDuration(interval)}"`];
  throw invalid(`${where}: expected ${expected}`);
}

/** Where a tunnel only shares the setting with others it may be without effect. */
function refuseChoiceOfOne(layers: readonly Layer[]): void {
  const layer = layers.find(({ values }) => values.has('transport'));
  const transport = layer?.values.get('transport');
  if (transport?.value !== 'auto' || layer?.shared === true) return;
  if (given(layers, 'quic')?.value !== true) throw invalid(`${transport.where} chooses between QUIC and TLS: add quic`);
  const fallback = given(layers, 'fallback');
  if (fallback?.value === false)
    throw invalid(`${transport.where} chooses between QUIC and TLS, and ${fallback.where} leaves QUIC only`);
}

/** The first packet of a client with a secret can be played once; another's could be played again. */
function refuseUnsafeEarlyData(layers: readonly Layer[]): void {
  const layer = layers.find(({ values }) => values.has('early-data'));
  const early = layer?.values.get('early-data');
  if (early?.value !== true || layer?.shared === true) return;
  if (given(layers, 'quic')?.value !== true) throw invalid(`${early.where} is about QUIC: add quic`);
  if (SECRETS.some((name) => given(layers, name) !== undefined)) return;
  throw invalid(`${early.where} is safe between sides that share a secret: add secret-file`);
}

function refuseUnclearBackends(layers: readonly Layer[], client: boolean): void {
  const backend = given(layers, 'backend');
  if (backend === undefined) return;
  const names = backend.value.map(({ name }) => name);
  if (client && names.some((name) => name !== ''))
    throw invalid(`${backend.where} of a client is the server's address: name the backend with target`);
  if (client) return refuseSameServers(backend);
  const twice = repeated(names);
  if (names.includes(DEFAULT_BACKEND))
    throw invalid(`${backend.where}: "${DEFAULT_BACKEND}" is what -clients calls the address without a name: write it without one`);
  if (twice === '') throw invalid(`${backend.where} has more than one address without a name: write the others as NAME=HOST:PORT`);
  if (twice !== undefined) throw invalid(`${backend.where} has two addresses for "${twice}": give each a name of its own`);
}

function refuseSameServers({ value, where }: { value: readonly NamedAddress[]; where: string }): void {
  const twice = repeated(value.map(formatAddress));
  if (twice !== undefined) throw invalid(`${where} has ${twice} twice: give each server once`);
}

/** What comes a second time. */
function repeated(texts: readonly string[]): string | undefined {
  return texts.find((text, index) => texts.indexOf(text) < index);
}

/** The name alone proves nothing. */
function refuseNameWithoutProof(layers: readonly Layer[]): void {
  const name = given(layers, 'client-name');
  if (name === undefined || PROOFS.some((proof) => given(layers, proof) !== undefined)) return;
  throw invalid(`${name.where} needs the client's secret or certificate: add secret-file, or cert-file and key-file`);
}

function defaultDuration(name: 'keepalive' | 'idle-timeout'): number {
  const flag = findFlag(name);
  const parsed = flag !== undefined && 'default' in flag && flag.default !== null ? parseValue(flag, flag.default) : undefined;
  return parsed !== undefined && 'value' in parsed ? Number(parsed.value) : Number.NaN;
}

function invalid(message: string): QtunnelError {
  return new QtunnelError('CONFIG_INVALID', message);
}

const SECRETS = ['secret', 'secret-file', 'clients'] as const satisfies readonly FlagName[];
const PROOFS = ['secret', 'secret-file', 'cert-file'] as const satisfies readonly FlagName[];
const EXCLUSIVE = [
  ['secret', 'secret-file', 'give the secret once'],
  ['insecure', 'pin', 'the one trusts everybody, the other a single certificate'],
  ['insecure', 'ca-file', 'the one trusts everybody, the other whom a CA has signed'],
] as const satisfies readonly (readonly [FlagName, FlagName, string])[];
