import { quiche, type Config } from '@matrixai/quic/native/index.js';
import { ALPN } from '../protocol/handshake.ts';

export interface QuicTuning {
  readonly congestion: 'bbr' | 'cubic' | 'reno';
  /** Milliseconds of silence after which a connection is given up. */
  readonly idleTimeout: number;
}

/**
 * quiche's settings for every connection of a client. One is shared by all connections: that is what makes session tickets work.
 * The server's certificate is not judged here but after the handshake, by `CheckServer` and the proofs.
 */
export function clientConfig(tuning: QuicTuning): Config {
  return tune(quiche.Config.withBoringSslCtx(false, false, null, null, null, null), tuning);
}

/** The same for a server. The PEM texts must have been checked: the binding aborts the process on what BoringSSL does not take. */
export function serverConfig(tuning: QuicTuning, certificatePem: string, privateKeyPem: string): Config {
  const config = quiche.Config.withBoringSslCtx(
    false,
    false,
    null,
    [Buffer.from(privateKeyPem)],
    [Buffer.from(certificatePem)],
    null,
  );
  return tune(config, tuning);
}

function tune(config: Config, { congestion, idleTimeout }: QuicTuning): Config {
  config.setApplicationProtos([ALPN]);
  config.setMaxIdleTimeout(idleTimeout);
  config.setMaxRecvUdpPayloadSize(MAX_RECEIVE);
  // quiche makes no packet that large, but its first window is ten of them, and what is lost keeps that from growing at first: acknowledgements wait as well.
  config.setMaxSendUdpPayloadSize(MAX_RECEIVE);
  // With `bbr` the layer below does it (packetization/delivery.ts), and quiche must not stand in its way: it sees no loss, so that this window only grows.
  config.setCcAlgorithmName(congestion === 'bbr' ? 'cubic' : congestion);
  if (congestion === 'bbr') config.enableHystart(false);
  config.enablePacing(false);
  config.setDisableActiveMigration(false);
  // The tunnel bounds streams and bytes itself (protocol/credit.ts): quiche's own windows collapse once they are used up, and it never repeats a
  // lost MAX_STREAMS.
  config.setInitialMaxData(UNLIMITED);
  config.setInitialMaxStreamDataBidiLocal(UNLIMITED);
  config.setInitialMaxStreamDataBidiRemote(UNLIMITED);
  config.setInitialMaxStreamDataUni(0);
  config.setInitialMaxStreamsBidi(UNLIMITED);
  config.setInitialMaxStreamsUni(0);
  config.setMaxStreamWindow(UNLIMITED);
  config.setMaxConnectionWindow(UNLIMITED);
  return config;
}

/** Bytes of UDP payload that pass nearly everywhere: IPv6's 1280-byte links aside, 1350 is what Google's QUIC measured as safe. */
export const MAX_DATAGRAM = 1350;
const MAX_RECEIVE = 1_600_000;
const UNLIMITED = 2 ** 50;
