import { serverOf, type TunnelSettings } from '../config/settings.ts';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { REFUSED } from '../tunnel/link-keeper.ts';
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
 * @throws QtunnelError when no tunnel leads there: why it was refused, or else why the first did not come up; `ABORTED`.
 */
export async function findWays(settings: TunnelSettings, signal: AbortSignal): Promise<Ways> {
  const search = new Search(signal);
  try {
    await search.all(tunnelsOf(settings), (name, given) => tunnelPath(name, settings, given));
    // One that says no is more to the point than one that says nothing, as over UDP to whoever has another secret.
    const problem = search.problems.find(isRefusal) ?? search.problems[0];
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

  /** Tries all at the same time; once one is refused, so would the others be that have not come up. */
  async all<N extends PathName>(names: readonly N[], make: (name: N, signal: AbortSignal) => Promise<Path>): Promise<void> {
    const refused = new AbortController();
    const signal = AbortSignal.any([this.#signal, refused.signal]);
    await Promise.all(
      names.map(async (name) => {
        await this.try(name, () => make(name, signal), signal);
        if (this.problems.some(isRefusal)) refused.abort();
      }),
    );
    this.paths.sort((one, other) => names.indexOf(one.name as N) - names.indexOf(other.name as N));
    this.problems.sort((one, other) => names.indexOf(one.path as N) - names.indexOf(other.path as N));
  }

  async try(name: PathName, make: () => Promise<Path>, signal = this.#signal): Promise<void> {
    try {
      const path = await make();
      try {
        const { hello, socket } = await sayHello(path, signal);
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

function isRefusal({ code }: Problem): boolean {
  return REFUSED.has(code);
}

function tunnelsOf({ quic, fallback }: TunnelSettings): ('quic' | 'tcp')[] {
  if (!quic) return ['tcp'];
  return fallback ? ['quic', 'tcp'] : ['quic'];
}
