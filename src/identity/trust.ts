import type { TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { type Authorities, judgePath, loadAuthorities } from './authorities.ts';
import { fingerprint, formatFingerprint } from './fingerprint.ts';
import { KnownHosts } from './known-hosts.ts';

/** `secret` is the one in force, the first that `loadSecrets` gives. */
export type TrustSettings = Pick<TunnelSettings, 'secret' | 'pin' | 'caFile' | 'insecure' | 'knownHosts'>;

export interface TrustResult {
  /** The server was not known and is remembered now; worth telling the user, with the fingerprint. */
  readonly firstUse: boolean;
  /** Of the certificate: 64 lower-case hexadecimal digits. */
  readonly fingerprint: string;
  readonly warnings: readonly string[];
}

/**
 * The client's judgement on a server's certificate. `-pin` and `-ca-file` must each hold when they are given. Without either, a secret is
 * enough, because its proofs are bound to the certificate, and without a secret the server must be the one that was seen at first use.
 * `-insecure` skips all of it.
 */
export class TrustPolicy {
  /** What the judgement rests on: two policies with the same strings judge alike. */
  readonly basis: readonly string[];
  readonly #pin: string | null;
  readonly #authorities: Authorities | null;
  readonly #knownHosts: KnownHosts | null;
  readonly #warnings: readonly string[];

  /** @throws QtunnelError `FILE_UNREADABLE`, `CERT_INVALID` when the CA file holds no certificate or a broken one. */
  static async load(settings: TrustSettings): Promise<TrustPolicy> {
    const { secret, pin, caFile, insecure } = settings;
    if (insecure) {
      const warnings = insecureWarnings(settings);
      return new TrustPolicy({ pin: null, authorities: null, knownHosts: null, warnings, basis: ['insecure', ...warnings] });
    }
    const knownHosts = secret === null && pin === null && caFile === null ? new KnownHosts(settings.knownHosts) : null;
    knownHosts?.read();
    const authorities = caFile === null ? null : await loadAuthorities(caFile);
    const basis = [
      `pin ${pin}`,
      `known hosts ${knownHosts === null ? null : settings.knownHosts}`,
      ...(authorities?.certificates ?? []).map(({ fingerprint256 }) => `authority ${fingerprint256}`),
    ];
    return new TrustPolicy({ pin, authorities, knownHosts, warnings: [], basis });
  }

  private constructor(parts: PolicyParts) {
    this.#pin = parts.pin;
    this.#authorities = parts.authorities;
    this.#knownHosts = parts.knownHosts;
    this.#warnings = parts.warnings;
    this.basis = parts.basis;
  }

  /**
   * Judges what the server showed: its certificate first, then what it sent with it, in DER. To be called when TLS's handshake is
   * complete, since before that the server has not shown that it owns the certificate, and one remembered then may be a stolen copy.
   * @param host As the user named the server: a name, or an IP address without brackets.
   * @throws QtunnelError `PIN_MISMATCH`, `CERT_UNTRUSTED`, `CERT_CHANGED`, and what `KnownHosts.recognise` throws for its file.
   */
  check(chain: readonly Uint8Array[], host: string, port: number): TrustResult {
    const leaf = chain[0];
    if (leaf === undefined)
      throw new QtunnelError('CERT_UNTRUSTED', `The server ${host} sent no certificate: check that it is a qtunnel server.`);
    const print = fingerprint(leaf);
    if (this.#pin !== null) checkPin(this.#pin, print, host);
    if (this.#authorities !== null) checkAuthorities(this.#authorities, chain, host);
    const firstUse = this.#knownHosts !== null && !this.#knownHosts.recognise(host, port, print);
    const problem = this.#knownHosts?.problem ?? null;
    return { firstUse, fingerprint: print, warnings: problem === null ? this.#warnings : [...this.#warnings, problem] };
  }
}

interface PolicyParts {
  readonly pin: string | null;
  readonly authorities: Authorities | null;
  readonly knownHosts: KnownHosts | null;
  readonly warnings: readonly string[];
  readonly basis: readonly string[];
}

/** With a secret and nothing else there is nothing to skip, and so nothing to warn of. */
function insecureWarnings({ secret, pin, caFile }: TrustSettings): string[] {
  const skipped = [pin === null ? [] : ['-pin'], caFile === null ? [] : ['-ca-file']].flat();
  if (secret !== null && skipped.length === 0) return [];
  const ignored = skipped.length === 0 ? '' : ` (${skipped.join(' and ')} ignored)`;
  const danger =
    secret === null ? 'anybody in between can read and change everything' : 'only the secret tells the server from others';
  return [`-insecure: the server's certificate is not checked${ignored}; ${danger}.`];
}

function checkPin(pin: string, print: string, host: string): void {
  if (pin === print) return;
  throw new QtunnelError(
    'PIN_MISMATCH',
    `The certificate of ${host} is not the one in -pin: the server shows ${formatFingerprint(print)} and -pin is ${formatFingerprint(pin)}; ` +
      'compare both with what the server prints when it starts.',
  );
}

function checkAuthorities({ file, certificates }: Authorities, chain: readonly Uint8Array[], host: string): void {
  const verdict = judgePath(chain, certificates, { host });
  if (verdict === null) return;
  const { reason, cause } = verdict;
  throw new QtunnelError('CERT_UNTRUSTED', `The certificate of ${host} does not hold against the CA file ${file}: ${reason}.`, {
    cause,
  });
}
