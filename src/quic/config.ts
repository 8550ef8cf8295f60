import { quiche, type Config } from '@matrixai/quic/native/index.js';
import { QtunnelError } from '../errors.ts';
import type { Fec } from '../protocol/fec.ts';
import { nobodysKeys } from './nobody.ts';
import type { ServerKeys } from '../link/options.ts';
import { ALPN } from '../protocol/handshake.ts';

export interface QuicTuning {
  readonly congestion: 'bbr' | 'cubic' | 'reno';
  readonly blocks: 'auto' | 'off';
  readonly fec: Fec;
  /** A server: takes what a client that it knows says in its first flight; only with a secret. A client: `QuicConnectOptions.tickets`. */
  readonly earlyData?: boolean;
  /** Milliseconds of silence after which a connection is given up. */
  readonly idleTimeout: number;
  /** Takes DATAGRAM frames (RFC 9221). */
  readonly datagrams?: boolean;
}

/** What of it quiche's own settings depend on. */
export type NativeTuning = Pick<QuicTuning, 'congestion' | 'blocks' | 'idleTimeout' | 'earlyData' | 'datagrams'>;

/**
 * quiche's settings for every connection of a client. One is shared by all connections: that is what makes session tickets work.
 * The server's certificate is not judged here but after the handshake, by `CheckServer` and the proofs. `keys` is shown to a server that asks.
 */
export function clientConfig(tuning: NativeTuning, keys: CertificateAndKey = nobodysKeys()): Config {
  return made(() => tune(withCertificate(false, keys), tuning));
}

/**
 * The same for a server. The PEM texts must have been checked: the binding aborts the process on what BoringSSL does not take. `asks` for a certificate of the
 * client, which is judged with its HELLO (`JudgeClient`); a client that shows none is refused by TLS.
 */
export function serverConfig(tuning: NativeTuning, keys: CertificateAndKey, asks: boolean): Config {
  return made(() => tune(withCertificate(asks, keys), tuning));
}

type CertificateAndKey = Pick<ServerKeys, 'certificatePem' | 'privateKeyPem'>;

/** @throws QtunnelError `INTERNAL`. */
function made(make: () => Config): Config {
  try {
    return make();
  } catch (cause) {
    throw new QtunnelError('INTERNAL', `The QUIC library does not take its settings (${(cause as Error).message}).`, { cause });
  }
}

/** With the second argument BoringSSL takes any certificate; without it, it would judge by authorities of its own. */
function withCertificate(asks: boolean, { certificatePem, privateKeyPem }: CertificateAndKey): Config {
  return quiche.Config.withBoringSslCtx(asks, asks, null, [Buffer.from(privateKeyPem)], [Buffer.from(certificatePem)], null);
}

/** Whether packets travel in blocks, whose layer then does what congestion control has to do. CUBIC and Reno are quiche's own. */
export function usesBlocks({ congestion, blocks }: Pick<QuicTuning, 'congestion' | 'blocks'>): boolean {
  return blocks === 'auto' && congestion === 'bbr';
}

function tune(config: Config, tuning: NativeTuning): Config {
  const { congestion, idleTimeout } = tuning;
  config.setApplicationProtos([ALPN]);
  config.setMaxIdleTimeout(idleTimeout);
  if (usesBlocks(tuning)) openWide(config);
  else {
    config.setMaxRecvUdpPayloadSize(MAX_DATAGRAM);
    config.setMaxSendUdpPayloadSize(MAX_DATAGRAM);
    config.setCcAlgorithmName(congestion);
  }
  if (tuning.earlyData === true) config.enableEarlyData();
  if (tuning.datagrams === true) config.enableDgram(true, MOST_DATAGRAMS, MOST_DATAGRAMS);
  // With CUBIC and Reno, packets that quiche does not pace count as sent when the first of a window was, once that is small: its round-trip time grows without
  // end, and it forgets no packet any more (docs/MEASURED.md).
  config.enablePacing(congestion !== 'bbr');
  config.setDisableActiveMigration(false);
  // The tunnel bounds streams and bytes itself (protocol/credit.ts): quiche's own windows collapse once they are used up, and it never repeats a
  // lost MAX_STREAMS.
  config.setInitialMaxData(UNLIMITED);
  config.setInitialMaxStreamDataBidiLocal(UNLIMITED);
  config.setInitialMaxStreamDataBidiRemote(UNLIMITED);
  config.setInitialMaxStreamDataUni(UNLIMITED);
  config.setInitialMaxStreamsBidi(CONTROL_STREAMS);
  config.setInitialMaxStreamsUni(UNLIMITED);
  config.setMaxStreamWindow(UNLIMITED);
  config.setMaxConnectionWindow(UNLIMITED);
  return config;
}

/**
 * The layer below keeps the pace (packetization/delivery.ts), and quiche must not stand in its way: it sees next to no loss. It begins with ten packets of the
 * largest size that both sides name, and BBR's window has never less than four; a peer without blocks names that of a datagram, and then all is as usual.
 */
function openWide(config: Config): void {
  config.setMaxRecvUdpPayloadSize(LARGEST_NAMED);
  config.setMaxSendUdpPayloadSize(LARGEST_NAMED);
  config.setCcAlgorithmName('bbr');
}

/** Bytes of UDP payload that pass nearly everywhere: IPv6's 1280-byte links aside, 1350 is what Google's QUIC measured as safe. */
const MAX_DATAGRAM = 1350;
/**
 * Bytes of UDP payload that are tried besides: Ethernet with IPv6 and with IPv4; jumbo frames, of which two carry the largest packet that quiche makes; and, on
 * loopback, what carries it by itself.
 */
export const DATAGRAM_SIZES: readonly number[] = [MAX_DATAGRAM, 1452, 1472, 8220, 16_411];
/** Bytes: a quarter of the least window, which a path of 1 Gbit/s and 100 ms does not fill. */
const LARGEST_NAMED = 4_000_000;
const UNLIMITED = 2 ** 50;
/** DATAGRAM frames that wait in each direction: some turns' worth. */
const MOST_DATAGRAMS = 1024;
/** The control stream is the only one in both directions. */
const CONTROL_STREAMS = 1;
