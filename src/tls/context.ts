import { createHash, type X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { LinkOptions } from '../link/options.ts';
import { MAX_DATAGRAM } from '../protocol/datagrams.ts';
import type { HandshakeContext } from '../protocol/handshake.ts';

/** What a side brings to HELLO and WELCOME; `certificate` is the hash of the server's certificate in this connection. */
export function handshakeContext(options: LinkOptions, certificate: Uint8Array, nonce: Uint8Array): HandshakeContext {
  const { auth, software, buffer, maxStreams, idleTimeout, wantsEndpoints } = options;
  // TCP is the flow control here and cuts into packets: nobody counts credit, and there are no shards.
  const settings = {
    initialCredit: buffer,
    maxStreams,
    idleTimeout,
    shards: 0,
    parity: 0,
    serverOpens: options.serverOpens === true ? 1 : 0,
    datagrams: options.datagrams === true ? MAX_DATAGRAM : 0,
    reuse: 1,
    lane: options.lane === false ? 0 : 1,
    endpoints: wantsEndpoints ? 1 : 0,
  };
  return { ...auth, certificate, nonce, software, settings };
}

/** SHA-256, as it goes into the proofs. */
export function hashCertificate(der: Uint8Array): Uint8Array {
  return createHash('sha256').update(der).digest();
}

/** The certificates that the peer showed (DER), its own first; empty when it showed none. */
export function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MAX_CHAIN) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

const MAX_CHAIN = 10;
