import { randomBytes } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { CheckServer, LinkAuth, LinkOptions, LinkTarget } from '../link/options.ts';
import { LINK_ID, NONCE } from '../protocol/messages.ts';
import { cipherOrder } from './ciphers.ts';
import type { TlsConnection } from './connection.ts';
import { dial, type DialOptions } from './dial.ts';
import { joinNonce } from './join.ts';
import { TlsLink } from './link.ts';
import { WarmPool } from './pool.ts';

export type TlsConnectOptions = LinkOptions & { readonly checkServer: CheckServer };

/**
 * Makes a link over TLS: its control connection is up and both sides have proven themselves. Connections for streams are made ahead from
 * then on. `signal` ends the attempt; it means nothing to the link.
 * @throws QtunnelError `LINK_REFUSED`, `LINK_TIMEOUT` or `LINK_LOST` when there is no way, `PROTOCOL_VIOLATION` when it leads to something else
 *   than qtunnel, `ABORTED`, and what `checkServer` and the handshake throw (`AUTH_…`, `CERT_…`, `VERSION_MISMATCH`, `SERVER_BUSY`).
 */
export async function connectTls(target: LinkTarget, options: TlsConnectOptions, signal: AbortSignal): Promise<Link> {
  if (signal.aborted) throw new QtunnelError('ABORTED', 'The attempt to connect was given up.');
  const id = randomBytes(LINK_ID).toString('hex');
  const secureContext = createSecureContext({ minVersion: 'TLSv1.3', ciphers: cipherOrder(), ...shown(options.auth) });
  const dialOptions = { target, options, checkServer: options.checkServer, secureContext, linkId: id };
  return await dial(dialOptions, randomBytes(NONCE), signal, (connection, welcome, rtt) => {
    const makeSource = (link: TlsLink): WarmPool => {
      return new WarmPool((poolSignal, takeOver) => dialFurther(link, dialOptions, welcome.resetToken, poolSignal, takeOver));
    };
    return new TlsLink(connection, options, { id, peer: welcome.settings, rtt, makeSource });
  });
}

/** To a server that asks. */
function shown({ certificate }: LinkAuth): { readonly cert?: string; readonly key?: string } {
  return certificate ? { cert: certificate.certificatePem, key: certificate.privateKeyPem } : {};
}

function dialFurther(
  link: TlsLink,
  dialOptions: DialOptions,
  token: Uint8Array,
  signal: AbortSignal,
  takeOver: (connection: TlsConnection) => void,
): Promise<void> {
  const nonce = joinNonce(dialOptions.options.auth.hmac, token, randomBytes(NONCE));
  return dial({ ...dialOptions, isFurther: true }, nonce, signal, (connection) => {
    link.adopt(connection);
    takeOver(connection);
  });
}
