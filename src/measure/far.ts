import { randomBytes } from 'node:crypto';
import { isatty } from 'node:tty';
import type { Address, ProcessSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import { formatAddress } from '../link/address.ts';
import { type LinkNews, startChild } from './children.ts';
import { TITLES } from './plan.ts';
import type { FarSettings } from './settings.ts';

export interface FarEnd {
  readonly address: Address;
  readonly fingerprint: string;
  readonly directPort: number | null;
  /** Settles when a part of it has ended without being asked to. */
  readonly failed: Promise<QtunnelError>;
  stop(): Promise<void>;
}

/**
 * Starts a server and behind it, on loopback, what a bench is made against, each in a process of its own.
 * @throws QtunnelError why one of them does not start
 */
export async function startFarEnd(
  { tunnel, direct }: Omit<FarSettings, 'end'>,
  logLevel: ProcessSettings['logLevel'],
  signal: AbortSignal,
  onLink: (news: LinkNews) => void,
): Promise<FarEnd> {
  const backend = await startChild({ role: 'backend', direct }, signal);
  try {
    const settings = { ...tunnel, backend: { host: '127.0.0.1', port: backend.ready.port } };
    const log = { logto: 'stderr', logLevel, logFormat: isatty(2) ? 'pretty' : 'json' } as const;
    const server = await startChild({ role: 'server', settings, log }, signal, onLink);
    return {
      ...server.ready,
      directPort: backend.ready.directPort,
      failed: Promise.race([backend.failed, server.failed]),
      async stop() {
        await Promise.all([server.stop(), backend.stop()]);
      },
    };
  } catch (error) {
    await backend.stop();
    throw error;
  }
}

/**
 * `qtunnel bench -server`: waits for near ends until the signal fires. Without a secret it makes one up: nobody is to use it unasked.
 * @throws QtunnelError when it does not start, or cannot go on
 */
export async function waitForBench(
  { tunnel, direct }: FarSettings,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const given = tunnel.secret !== null || tunnel.secretFile !== null;
  const settings = given ? tunnel : { ...tunnel, secret: randomBytes(MADE_UP_BYTES).toString('hex') };
  const farEnd = await startFarEnd({ tunnel: settings, direct }, 'warn', signal, (news) => say(newsOf(news)));
  try {
    const where = tunnel.quic ? `UDP${tunnel.fallback ? ' and TCP' : ''}` : 'TCP';
    say(`waiting on ${where} ${formatAddress(farEnd.address)}, certificate ${formatFingerprint(farEnd.fingerprint)}`);
    if (farEnd.directPort !== null) say(`direct TCP on port ${farEnd.directPort}, for those who came through the tunnel`);
    say(`on the near host: ${nearCommand(settings, farEnd.address, given)}`);
    if (!given) say('that secret was made up for this run; choose your own with -secret-file');
    say('Ctrl-C ends it');
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => resolve());
      if (signal.aborted) resolve();
      void farEnd.failed.then(reject);
    });
  } finally {
    await farEnd.stop();
  }
}

function nearCommand({ quic, fallback, secret }: FarSettings['tunnel'], { host, port }: Address, given: boolean): string {
  const reachable = host === '' || host === '::' || host === '0.0.0.0' ? 'THIS-HOST' : host;
  const transports = quic ? (fallback ? '' : ' -fallback=false') : ' -quic=false';
  const shown = given ? '-secret-file=FILE-WITH-THE-SAME-SECRET' : `-secret=${secret}`;
  return `qtunnel bench -backend=${formatAddress({ host: reachable, port })}${transports} ${shown}`;
}

function newsOf({ state, peer, transport, reason }: LinkNews): string {
  const title = TITLES[transport === 'quic' ? 'quic' : 'tcp'];
  return state === 'up' ? `${peer} is here over ${title}` : `${peer} is gone: ${reason}`;
}

const MADE_UP_BYTES = 12;
