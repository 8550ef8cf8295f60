import { QtunnelError } from '../errors.ts';
import type { connectQuic, prepareQuic } from './connect.ts';
import type { listenQuic } from './listen.ts';

export interface Quic {
  readonly connectQuic: typeof connectQuic;
  readonly prepareQuic: typeof prepareQuic;
  readonly listenQuic: typeof listenQuic;
}

/**
 * The driver with its native part, loaded when it is first wanted: TLS works on platforms for which there is none.
 * @throws QtunnelError `QUIC_UNAVAILABLE`.
 */
export async function loadQuic(): Promise<Quic> {
  try {
    const [{ connectQuic, prepareQuic }, { listenQuic }] = await Promise.all([import('./connect.ts'), import('./listen.ts')]);
    return { connectQuic, prepareQuic, listenQuic };
  } catch (cause) {
    const platform = `${process.platform} on ${process.arch}`;
    throw new QtunnelError('QUIC_UNAVAILABLE', `QUIC has no native part for ${platform} here; leave -quic out to use TLS.`, {
      cause,
    });
  }
}
