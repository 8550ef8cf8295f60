import { X509Certificate } from 'node:crypto';
import type { JudgeClient } from '../link/options.ts';
import { NOBODY, type Recognition } from '../protocol/handshake.ts';
import { judgePath } from './authorities.ts';
import { fingerprint, formatFingerprint } from './fingerprint.ts';

/** What a server knows of its clients' certificates. */
export interface KnownCertificates {
  /** The named clients, each with the fingerprints of the certificates that it may show; empty for one that needs none of its own. */
  readonly clients: readonly { readonly name: string; readonly fingerprints: readonly string[] }[];
  /** PEM; a certificate that one of them has signed is wanted of every client whose own is not known. Null when none is wanted. */
  readonly authorities: readonly string[] | null;
}

/**
 * The judgement on clients by their certificates; null for a server that wants none. A certificate whose fingerprint belongs to a named client gives the client that
 * name. A client whose name has fingerprints must show one of them; with authorities every other client must show one that they have signed.
 */
export function clientJudge({ clients, authorities }: KnownCertificates): JudgeClient | null {
  const owners = new Map(clients.flatMap(({ name, fingerprints }) => fingerprints.map((print) => [print, name] as const)));
  if (owners.size === 0 && authorities === null) return null;
  const withOwn = new Set(owners.values());
  const anchors = authorities?.map((pem) => new X509Certificate(pem)) ?? null;
  return (claimed, chain) => {
    const shown = withoutNobody(chain);
    const print = shown[0] === undefined ? null : fingerprint(shown[0]);
    const owner = print === null ? undefined : owners.get(print);
    if (owner !== undefined) return recognised(owner, claimed);
    const unknown =
      print === null ? 'it showed none; give it -cert-file and -key-file' : `${formatFingerprint(print)} is not known`;
    if (withOwn.has(claimed))
      return { client: claimed, problem: `the client ${claimed} has to show its own certificate, and ${unknown}.` };
    if (anchors === null) return { client: claimed, problem: null };
    if (print === null) return { client: claimed, problem: `this server wants a certificate of the client, and ${unknown}.` };
    const verdict = judgePath(shown, anchors, 'client');
    return { client: claimed, problem: verdict === null ? null : `it does not hold against -client-ca: ${verdict.reason}.` };
  };
}

function recognised(owner: string, claimed: string): Recognition {
  const isOther = claimed !== '' && claimed !== owner;
  return { client: owner, problem: isOther ? `it is not that of the client ${claimed}; check -client-name.` : null };
}

/** A client without a certificate may have to show one that says so. */
function withoutNobody(chain: readonly Uint8Array[]): readonly Uint8Array[] {
  const [leaf] = chain;
  if (leaf === undefined) return chain;
  try {
    return new X509Certificate(leaf).subject === `CN=${NOBODY}` ? [] : chain;
  } catch {
    return chain;
  }
}
