import type { Address, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import type { LinkAuth, LinkListener, LinkOptions, ServerKeys } from '../link/options.ts';
import { listenQuic } from '../quic/listen.ts';
import { listenTls } from '../tls/listen.ts';
import { linkOptions } from './security.ts';

/** A server's ears: UDP for QUIC, TCP for TLS, on the same port number. */
export interface Listeners {
  readonly all: readonly LinkListener[];
  readonly udp: Address | null;
  readonly tcp: Address | null;
  readonly address: Address;
  /** New certificate and secret for clients that come from now on. */
  update(keys: ServerKeys, auth: LinkAuth): void;
  /** Takes no more clients. */
  close(): Promise<void>;
}

/** @throws QtunnelError `LISTEN_FAILED`; nothing is left open then. */
export async function openListeners(settings: TunnelSettings, keys: ServerKeys, auth: LinkAuth): Promise<Listeners> {
  const current = { auth };
  // The options are read at each handshake, so a new secret counts from the next one on.
  const options: LinkOptions = {
    ...linkOptions(settings, auth),
    get auth() {
      return current.auth;
    },
  };
  const [udp, tcp] = await openPair(settings, keys, options);
  const all = [udp, tcp].filter((listener) => listener !== null);
  return {
    all,
    udp: udp?.address ?? null,
    tcp: tcp?.address ?? null,
    address: { host: settings.listen.host, port: all[0]!.address.port },
    update(newKeys, newAuth) {
      current.auth = newAuth;
      for (const listener of all) listener.setIdentity(newKeys);
    },
    async close() {
      await Promise.all(all.map((listener) => listener.close()));
    },
  };
}

async function openPair(
  settings: TunnelSettings,
  keys: ServerKeys,
  options: LinkOptions,
): Promise<[LinkListener | null, LinkListener | null]> {
  const { listen, quic, fallback, congestion, idleTimeout } = settings;
  // Spreading would read the getter once and for all.
  const quicOptions = Object.create(options, { congestion: { value: congestion }, idleTimeout: { value: idleTimeout } });
  if (!quic) return [null, await listenTls(listen, keys, options)];
  if (!fallback) return [await listenQuic(listen, keys, quicOptions), null];
  for (let attempt = 1; ; attempt++) {
    const tcp = await listenTls(listen, keys, options);
    try {
      return [await listenQuic({ host: listen.host, port: tcp.address.port }, keys, quicOptions), tcp];
    } catch (error) {
      await tcp.close();
      // Port 0 leaves the choice to the system, and its choice for TCP may be taken for UDP.
      if (listen.port !== 0 || attempt === PORT_ATTEMPTS || !(error instanceof QtunnelError)) throw error;
    }
  }
}

const PORT_ATTEMPTS = 10;
