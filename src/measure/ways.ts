import { serverOf, type TunnelSettings } from '../config/settings.ts';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { directPath, type Path, sayHello, tunnelPath } from './paths.ts';
import { TITLES } from './plan.ts';
import type { PathName, Problem } from './results.ts';
import type { Hello } from './wire.ts';

/** The ways to a far end. */
export interface Ways {
  /** In the order of the table. */
  readonly paths: readonly Path[];
  /** Why a way that was asked for is none. */
  readonly problems: readonly Problem[];
  close(): Promise<void>;
}

/**
 * Finds a bench at the far end over each transport that the settings allow, and over plain TCP when the far end offers that.
 * @throws QtunnelError when no tunnel leads there: why the first did not come up; `ABORTED`.
 */
export async function findWays(settings: TunnelSettings, signal: AbortSignal): Promise<Ways> {
  const search = new Search(signal);
  try {
    for (const name of tunnelsOf(settings)) await search.try(name, () => tunnelPath(name, settings, signal));
    const [problem] = search.problems;
    if (signal.aborted) throw new QtunnelError('ABORTED', 'The bench was stopped.');
    if (search.paths.length === 0 && problem !== undefined) {
      const where = `${formatAddress(serverOf(settings))} over ${TITLES[problem.path]}`;
      throw new QtunnelError(problem.code, `No bench can be reached at ${where}: ${problem.message}`);
    }
    const direct = search.hello?.direct ?? null;
    if (direct !== null) {
      const address = { host: serverOf(settings).host, port: direct.port };
      await search.try('direct', () => Promise.resolve(directPath(address, direct.key)));
    }
    return search;
  } catch (error) {
    await search.close();
    throw error;
  }
}

class Search implements Ways {
  readonly paths: Path[] = [];
  readonly problems: Problem[] = [];
  /** What the far end told first. */
  hello: Hello | null = null;
  readonly #signal: AbortSignal;
  /** What a hello tells is true as long as its connection is open. */
  readonly #hellos: { destroy(): unknown }[] = [];

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async try(name: PathName, make: () => Promise<Path>): Promise<void> {
    try {
      const path = await make();
      try {
        const { hello, socket } = await sayHello(path, this.#signal);
        this.hello ??= hello;
        this.#hellos.push(socket);
        this.paths.push(path);
      } catch (error) {
        await path.close();
        throw error;
      }
    } catch (error) {
      const { code, message } = asQtunnelError(error);
      this.problems.push({ path: name, code, message });
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#hellos) socket.destroy();
    await Promise.all(this.paths.map((path) => path.close()));
  }
}

function tunnelsOf({ quic, fallback }: TunnelSettings): ('quic' | 'tcp')[] {
  if (!quic) return ['tcp'];
  return fallback ? ['quic', 'tcp'] : ['quic'];
}
