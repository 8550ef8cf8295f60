import { generateKeyPairSync, randomBytes } from 'node:crypto';
import forge from 'node-forge';

export interface Issued {
  readonly certificate: string;
  readonly privateKey: string;
  readonly der: Uint8Array;
}

export interface IssueOptions {
  readonly name: string;
  /** Self-signed without one. */
  readonly issuer?: Issued;
  readonly ca?: boolean;
  readonly pathLength?: number;
  readonly hosts?: readonly string[];
  readonly clientOnly?: boolean;
  readonly nameConstraints?: boolean;
  readonly sha1?: boolean;
  /** Days from now; -1 and 1 unless given. */
  readonly validFrom?: number;
  readonly validTo?: number;
}

/** Makes certificates of every kind that a CA file and a server can hold, also wrong ones. All of them share two keys, for speed. */
export function issueCertificate(options: IssueOptions): Issued {
  const { name, issuer, ca = false, validFrom = -1, validTo = 1 } = options;
  const { privateKey, publicKey } = ca ? caKeys() : serverKeys();
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(publicKey);
  certificate.serialNumber = `40${randomBytes(8).toString('hex')}`;
  certificate.validity.notBefore = new Date(Date.now() + validFrom * DAY_MS);
  certificate.validity.notAfter = new Date(Date.now() + validTo * DAY_MS);
  certificate.setSubject([{ name: 'commonName', value: name }]);
  certificate.setIssuer(
    issuer === undefined ? certificate.subject.attributes : forge.pki.certificateFromPem(issuer.certificate).subject.attributes,
  );
  certificate.setExtensions(extensions(options));
  const signer = forge.pki.privateKeyFromPem(issuer?.privateKey ?? privateKey);
  certificate.sign(signer, options.sha1 === true ? forge.md.sha1.create() : forge.md.sha256.create());
  const pem = forge.pki.certificateToPem(certificate);
  return { certificate: pem, privateKey, der: Buffer.from(forge.pem.decode(pem)[0]!.body, 'latin1') };
}

function extensions({ ca = false, pathLength, hosts = [], clientOnly = false, nameConstraints = false }: IssueOptions): object[] {
  return [
    {
      name: 'basicConstraints',
      cA: ca,
      critical: true,
      ...(pathLength === undefined ? {} : { pathLenConstraint: pathLength }),
    },
    ...(ca ? [{ name: 'keyUsage', keyCertSign: true, critical: true }] : []),
    ...(ca ? [] : [{ name: 'extKeyUsage', serverAuth: !clientOnly, clientAuth: clientOnly }]),
    ...(hosts.length === 0 ? [] : [{ name: 'subjectAltName', altNames: hosts.map(alternativeName) }]),
    // SEQUENCE { permittedSubtrees [0] { { dNSName "x" } } }
    ...(nameConstraints ? [{ id: '2.5.29.30', critical: false, value: '\x30\x07\xa0\x05\x30\x03\x82\x01x' }] : []),
  ];
}

const alternativeName = (host: string) => (/^[\d.]+$|:/.test(host) ? { type: 7, ip: host } : { type: 2, value: host });

type Keys = { privateKey: string; publicKey: string };
const onceKeys = () => {
  let keys: Keys | null = null;
  return () =>
    (keys ??= generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }));
};
const caKeys = onceKeys();
const serverKeys = onceKeys();
const DAY_MS = 24 * 3600 * 1000;
