import { X509Certificate } from 'node:crypto';
import { QtunnelError } from '../../src/errors.ts';
import { createCertificate } from '../../src/identity/certificate.ts';
import { hmacSha256 } from '../../src/identity/secret.ts';
import type { Link } from '../../src/link/link.ts';
import type { LinkListener, LinkOptions, ServerKeys } from '../../src/link/options.ts';
import { connectTls } from '../../src/tls/connect.ts';
import { listenTls } from '../../src/tls/listen.ts';
import { LIMITS } from '../link/limits.ts';
import type { LinkPair } from '../link/contract.ts';
import { withDeadline } from '../support/deadline.ts';

export const SECRET = new Uint8Array(32).fill(7);

export function linkOptions(options: Partial<LinkOptions> & { key?: Uint8Array | null } = {}): LinkOptions {
  const { key = SECRET, ...rest } = options;
  return {
    auth: { hmac: hmacSha256, key },
    keepalive: 10_000,
    idleTimeout: 30_000,
    maxStreams: 1024,
    buffer: 1024 * 1024,
    wantsEndpoints: false,
    software: 'test',
    strangers: LIMITS,
    ...rest,
  };
}

/** A self-signed certificate and its key; the same one each time. */
export function serverKeys(): Promise<ServerKeys> {
  ready ??= newServerKeys();
  return ready;
}

export async function newServerKeys(): Promise<ServerKeys> {
  const pair = await createCertificate({ hosts: ['localhost'] });
  const certificateDer = new X509Certificate(pair.certificate).raw;
  return { certificatePem: pair.certificate, privateKeyPem: pair.privateKey, certificateDer, nodeKey: new Uint8Array(32) };
}

export async function listenHere(options: LinkOptions = linkOptions()): Promise<LinkListener> {
  return await listenTls({ host: '127.0.0.1', port: 0 }, await serverKeys(), options);
}

export function connectHere(
  port: number,
  options: Partial<Parameters<typeof connectTls>[1]> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Link> {
  const target = { host: '127.0.0.1', port, serverName: 'localhost' };
  return connectTls(target, { ...linkOptions(), checkServer: () => {}, ...options }, signal);
}

/** The listener's next link. */
export function nextLink(listener: LinkListener): Promise<Link> {
  return withDeadline(new Promise((resolve) => (listener.onLink = resolve)), () => 'a link');
}

/** The listener's next failure. */
export function nextFailure(listener: LinkListener): Promise<{ error: QtunnelError; peer: string }> {
  const failure = new Promise<{ error: QtunnelError; peer: string }>((resolve) => {
    listener.onHandshakeFailure = (error, peer) => resolve({ error, peer });
  });
  return withDeadline(failure, () => 'a failed handshake');
}

/** Two ends of a link over loopback. */
export async function makePair(options: Partial<LinkOptions> = {}): Promise<LinkPair & { listener: LinkListener }> {
  const listener = await listenHere(linkOptions(options));
  const accepted = nextLink(listener);
  const client = await connectHere(listener.address.port, options);
  const server = await accepted;
  return {
    client,
    server,
    listener,
    close: async () => {
      client.close(new QtunnelError('LINK_CLOSED', 'The test is over.'));
      server.close(new QtunnelError('LINK_CLOSED', 'The test is over.'));
      await listener.close();
    },
  };
}

let ready: Promise<ServerKeys> | undefined;
