import { generateKeyPairSync, sign } from 'node:crypto';
import type forge from 'node-forge';
import asn1 from 'node-forge/lib/asn1.js';
import { NOBODY } from '../protocol/handshake.ts';

/**
 * What a client without a certificate shows. When quiche 0.18 asks for certificates and judges none, it takes no client that has none; but the same server may
 * have clients with a secret in the place of a certificate. So they show this, which proves nothing: its name, `NOBODY`, says that there is none. Made once in
 * a process, within 2 ms; valid for ever, so that no clock can be wrong.
 */
export function nobodysKeys(): { readonly certificatePem: string; readonly privateKeyPem: string } {
  return (made ??= make());
}

let made: ReturnType<typeof nobodysKeys> | null = null;

function make(): ReturnType<typeof nobodysKeys> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = asn1.fromDer(publicKey.export({ type: 'spki', format: 'der' }).toString('latin1'));
  const content = certificateContent(key);
  const signature = sign('sha256', bytesOf(content), privateKey).toString('latin1');
  const bits = asn1.create(UNIVERSAL, Type.BITSTRING, false, `\0${signature}`);
  const certificate = bytesOf(sequence(content, ECDSA_WITH_SHA256(), bits));
  const base64 = certificate.toString('base64').replaceAll(/.{64}/g, '$&\n');
  return {
    certificatePem: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** TBSCertificate of version 1 (RFC 5280 §4.1). */
function certificateContent(publicKey: forge.asn1.Asn1): forge.asn1.Asn1 {
  const serial = asn1.create(UNIVERSAL, Type.INTEGER, false, '\u0001');
  const name = (): forge.asn1.Asn1 => sequence(asn1.create(UNIVERSAL, Type.SET, true, [sequence(oid(COMMON_NAME), text(NOBODY))]));
  return sequence(
    serial,
    ECDSA_WITH_SHA256(),
    name(),
    sequence(time('19700101000000Z'), time('99991231235959Z')),
    name(),
    publicKey,
  );
}

function bytesOf(value: forge.asn1.Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1');
}

const { UNIVERSAL } = asn1.Class;
const { Type } = asn1;
const sequence = (...fields: forge.asn1.Asn1[]) => asn1.create(UNIVERSAL, Type.SEQUENCE, true, fields);
const oid = (dotted: string) => asn1.create(UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes());
const text = (value: string) => asn1.create(UNIVERSAL, Type.UTF8, false, value);
const time = (value: string) => asn1.create(UNIVERSAL, Type.GENERALIZEDTIME, false, value);
const ECDSA_WITH_SHA256 = () => sequence(oid('1.2.840.10045.4.3.2'));
const COMMON_NAME = '2.5.4.3';
