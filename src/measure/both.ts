import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startFarEnd } from './far.ts';
import { measure } from './near.ts';
import type { Results } from './results.ts';
import type { Screen } from './screen.ts';
import type { BothSettings } from './settings.ts';

/**
 * `qtunnel bench` alone: both ends here, over loopback, with a secret and a certificate of their own that are gone afterwards.
 * @throws QtunnelError as `measure`, and when the far end does not start
 */
export async function measureHere({ server, client, wanted }: BothSettings, screen: Screen, signal: AbortSignal): Promise<Results> {
  const folder = await mkdtemp(path.join(tmpdir(), 'qtunnel-bench-'));
  try {
    const own = {
      secret: randomBytes(16).toString('hex'),
      secretFile: null,
      stateDir: folder,
      knownHosts: path.join(folder, 'known_hosts'),
    };
    const loopback = { host: '127.0.0.1', port: 0 };
    screen.prepare('starting a server');
    const farEnd = await startFarEnd(
      { tunnel: { ...server, ...own, listen: loopback }, direct: loopback },
      'silent',
      signal,
      () => {},
    );
    try {
      const settings = { ...client, ...own, backend: farEnd.address };
      return await measure({ settings, wanted, loopback: true }, screen, signal);
    } finally {
      await farEnd.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
