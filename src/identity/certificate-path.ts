import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type forge from 'node-forge';
import asn1 from 'node-forge/lib/asn1.js';
import { periodOf } from './key-pair.ts';

/**
 * Why `chain` (the peer's certificate first, then what it sent with it in any order) is not to be trusted, in words that
 * follow a colon; null when it is. A server is to have one for `host`. A path must lead to one of `anchors` and hold as RFC 5280 §6 and RFC 9525 want it; what is not
 * checked is revocation. A certificate that is itself an anchor is trusted without being an authority.
 */
export function untrustedReason(
  chain: readonly X509Certificate[],
  anchors: readonly X509Certificate[],
  peer: { readonly host: string } | 'client',
): string | null {
  const leaf = chain[0];
  if (leaf === undefined) return 'there is none';
  const usage = peer === 'client' ? CLIENT_USAGE : SERVER_USAGE;
  const problem = pathProblem(leaf, 0, { anchors, untried: new Set(chain.slice(1)), usage });
  return problem ?? (peer === 'client' ? null : nameProblem(leaf, peer.host));
}

interface PathSearch {
  readonly anchors: readonly X509Certificate[];
  /** The certificates that the peer sent besides its own. Each is tried once, so that a hostile set costs no more than its size. */
  readonly untried: Set<X509Certificate>;
  readonly usage: Usage;
}

/** An extended key usage. */
interface Usage {
  readonly oid: string;
  readonly of: string;
}

/** `below` is the number of certificates that are below this one in the path. */
function pathProblem(certificate: X509Certificate, below: number, search: PathSearch): string | null {
  const { anchors, untried, usage } = search;
  const own = periodProblem(certificate) ?? formProblem(certificate) ?? purposeProblem(certificate, usage);
  if (own !== null) return own;
  if (anchors.some((anchor) => anchor.raw.equals(certificate.raw))) return null;
  if (below >= MAX_PATH) return `its chain is longer than ${MAX_PATH} certificates`;

  let problem = `its issuer ${nameOf(certificate.issuer)} is not in the CA file`;
  for (const issuer of [...anchors, ...untried]) {
    if (!certificate.checkIssued(issuer)) continue;
    untried.delete(issuer);
    const found = issuerProblem(certificate, issuer, below) ?? pathProblem(issuer, below + 1, search);
    if (found === null) return null;
    problem = found;
  }
  return problem;
}

function issuerProblem(certificate: X509Certificate, issuer: X509Certificate, below: number): string | null {
  const name = nameOf(issuer.subject);
  if (!issuer.ca) return `its issuer ${name} is not a certificate authority`;
  if (below > pathLengthOf(issuer)) return `the path below ${name} is longer than that allows`;
  if (!certificate.verify(issuer.publicKey)) return `the signature of ${name} on it is wrong`;
  return null;
}

function periodProblem(certificate: X509Certificate): string | null {
  const { subject, validFrom, validTo } = certificate;
  switch (periodOf(certificate)) {
    case 'valid':
      return null;
    case 'expired':
      return `${nameOf(subject)} expired at ${validTo}`;
    case 'not yet valid':
      return `${nameOf(subject)} is not valid before ${validFrom}`;
  }
}

/** RFC 5280 §4.2: a critical extension that is not understood rules the certificate out; name constraints do in any case. */
function formProblem(certificate: X509Certificate): string | null {
  const { extensions, signatureAlgorithm } = parse(certificate);
  const foreign = extensions.find(({ oid, critical }) => (critical && !UNDERSTOOD.has(oid)) || oid === NAME_CONSTRAINTS);
  if (foreign !== undefined) return `${nameOf(certificate.subject)} has an extension that qtunnel cannot check (${foreign.oid})`;
  const selfSigned = certificate.subject === certificate.issuer;
  if (WEAK_SIGNATURES.has(signatureAlgorithm) && !selfSigned) return `${nameOf(certificate.subject)} is signed with MD5 or SHA-1`;
  return null;
}

/** node calls the extended key usage `keyUsage`; a certificate without one is good for everything. */
function purposeProblem(certificate: X509Certificate, { oid, of }: Usage): string | null {
  const usages = certificate.keyUsage as string[] | undefined;
  if (usages === undefined || usages.includes(oid) || usages.includes(ANY_USAGE)) return null;
  return `${nameOf(certificate.subject)} is not meant for ${of} (extended key usage)`;
}

function nameProblem(leaf: X509Certificate, host: string): string | null {
  const address = host.replace(/%.*$/, '');
  const matches = isIP(address) === 0 ? leaf.checkHost(domainToASCII(host), { subject: 'never' }) : leaf.checkIP(address);
  if (matches !== undefined) return null;
  return `it is not for ${host} but for ${leaf.subjectAltName ?? 'no name at all'}`;
}

interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: string;
}

/** What node's X509Certificate does not tell. */
function parse(certificate: X509Certificate): { signatureAlgorithm: string; extensions: Extension[] } {
  const [tbs, algorithm] = children(asn1.fromDer(certificate.raw.toString('latin1')));
  const extensions = children(tbs!).find(
    (field) => field.tagClass === asn1.Class.CONTEXT_SPECIFIC && field.type === EXTENSIONS_TAG,
  );
  return {
    signatureAlgorithm: oidOf(children(algorithm!)[0]!),
    extensions: extensions === undefined ? [] : children(children(extensions)[0]!).map(parseExtension),
  };
}

/** Extension ::= SEQUENCE { OID, critical BOOLEAN DEFAULT FALSE, OCTET STRING } */
function parseExtension(node: forge.asn1.Asn1): Extension {
  const fields = children(node);
  return { oid: oidOf(fields[0]!), critical: fields.length === 3, value: fields.at(-1)!.value as string };
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }; self-issued certificates count too. */
function pathLengthOf(issuer: X509Certificate): number {
  const constraints = parse(issuer).extensions.find(({ oid }) => oid === BASIC_CONSTRAINTS);
  if (constraints === undefined) return Infinity;
  const length = children(asn1.fromDer(constraints.value)).find(({ type }) => type === asn1.Type.INTEGER);
  return length === undefined ? Infinity : asn1.derToInteger(length.value as string);
}

const children = (node: forge.asn1.Asn1) => node.value as forge.asn1.Asn1[];
const oidOf = (node: forge.asn1.Asn1) => asn1.derToOid(node.value as string);

/** node gives a name's parts on lines of their own. */
const nameOf = (name: string | undefined) => `"${(name ?? '').replaceAll('\n', ', ')}"`;

const MAX_PATH = 8;
const EXTENSIONS_TAG = 3;
const BASIC_CONSTRAINTS = '2.5.29.19';
/** Basic constraints, key usage, extended key usage, subject alternative name: what is checked here or by OpenSSL in `ca` and `checkIssued`. */
const UNDERSTOOD = new Set([BASIC_CONSTRAINTS, '2.5.29.15', '2.5.29.37', '2.5.29.17']);
const NAME_CONSTRAINTS = '2.5.29.30';
const SERVER_USAGE: Usage = { oid: '1.3.6.1.5.5.7.3.1', of: 'servers' };
const CLIENT_USAGE: Usage = { oid: '1.3.6.1.5.5.7.3.2', of: 'clients' };
const ANY_USAGE = '2.5.29.37.0';
/** MD2, MD5, SHA-1 with RSA; SHA-1 with DSA and ECDSA. */
const WEAK_SIGNATURES = new Set([
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.2.840.10040.4.3',
  '1.2.840.10045.4.1',
]);
