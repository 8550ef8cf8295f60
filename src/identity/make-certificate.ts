import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import forge from 'node-forge';

export interface CertificateRequest {
  readonly dnsNames: readonly string[];
  /** In the form of `canonicalIp`. */
  readonly ipAddresses: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** The RSA key to certify, PEM. */
  readonly privateKey: string;
}

/**
 * Makes a self-signed certificate for a server or a client, in PEM. It keeps a core busy: for the identity thread; elsewhere call `createCertificate`.
 *
 * It is not a certificate authority (RFC 5280 §4.2.1.9), so whoever trusts it trusts this one peer and nothing that it could sign.
 */
export function makeCertificate(request: CertificateRequest): string {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(
    createPublicKey(request.privateKey).export({ type: 'spki', format: 'pem' }).toString(),
  );
  certificate.serialNumber = randomSerial();
  certificate.validity.notBefore = request.notBefore;
  certificate.validity.notAfter = request.notAfter;
  certificate.setSubject(NAME);
  certificate.setIssuer(NAME);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
    { name: 'subjectKeyIdentifier' },
    { name: 'subjectAltName', altNames: alternativeNames(request) },
  ]);
  certificate.sign(forge.pki.privateKeyFromPem(request.privateKey), forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n');
}

/** RSA 2048 in PEM, PKCS#8. With OpenSSL's generator: forge's own takes seconds. */
export function generatePrivateKey(): string {
  return generateKeyPairSync('rsa', {
    modulusLength: RSA_BITS,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey;
}

/** 16 bytes whose first two bits are 01: forge takes the bytes as they are, and DER wants them positive and without a leading zero. */
function randomSerial(): string {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial.toString('hex');
}

function alternativeNames({ dnsNames, ipAddresses }: CertificateRequest) {
  return [...dnsNames.map((value) => ({ type: DNS_NAME, value })), ...ipAddresses.map((ip) => ({ type: IP_ADDRESS, ip }))];
}

const RSA_BITS = 2048;
const NAME = [{ name: 'commonName', value: 'qtunnel' }];
/** GeneralName's tags, RFC 5280 §4.2.1.6. */
const DNS_NAME = 2;
const IP_ADDRESS = 7;
