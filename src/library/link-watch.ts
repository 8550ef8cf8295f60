import { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { ClientTunnel } from '../tunnel/client.ts';
import type { ConnectionEnd, ConnectionFacts, TunnelEvents } from '../tunnel/events.ts';
import { REFUSED } from '../tunnel/link-keeper.ts';
import { onAbort, throwIfAborted } from './abort.ts';

type Transport = Link['transport'];

/** Passes a client tunnel's events on and remembers of them why there is no link. */
export class LinkWatch implements TunnelEvents {
  /** How the last attempt of each transport failed since a link was up. */
  readonly #failures = new Map<Transport, QtunnelError>();
  readonly #lookers = new Set<() => void>();
  readonly #next: TunnelEvents;

  constructor(next: TunnelEvents) {
    this.#next = next;
  }

  /** Why the most recent attempt failed. */
  get lastFailure(): QtunnelError | undefined {
    return [...this.#failures.values()].at(-1);
  }

  /** Why trying again does not help. */
  get refusal(): QtunnelError | undefined {
    return [...this.#failures.values()].find(({ code }) => REFUSED.has(code));
  }

  /** Whether each of these has been tried without success. */
  haveFailed(transports: readonly Transport[]): boolean {
    return transports.every((transport) => this.#failures.has(transport));
  }

  /** After the settings have changed, earlier failures mean nothing. */
  forget(): void {
    this.#failures.clear();
  }

  /** Calls `look` whenever there may be a link or another failure, until what it returns is called. */
  onChange(look: () => void): () => void {
    this.#lookers.add(look);
    return () => this.#lookers.delete(look);
  }

  onLinkUp(link: Link): void {
    this.#failures.clear();
    this.#next.onLinkUp(link);
    this.#changed();
  }

  onLinkDown(link: Link, reason: QtunnelError): void {
    this.#next.onLinkDown(link, reason);
  }

  onAttemptFailed(transport: Transport, reason: QtunnelError, retryIn: number): void {
    this.#failures.delete(transport);
    this.#failures.set(transport, reason);
    this.#next.onAttemptFailed(transport, reason, retryIn);
    this.#changed();
  }

  onTurnedAway(reason: QtunnelError, peer: string): void {
    this.#next.onTurnedAway(reason, peer);
  }

  onConnection(connection: ConnectionFacts): void {
    this.#next.onConnection(connection);
  }

  onConnectionEnd(connection: ConnectionFacts, end: ConnectionEnd): void {
    this.#next.onConnectionEnd(connection, end);
  }

  #changed(): void {
    for (const look of this.#lookers) look();
  }
}

export interface LinkWait {
  readonly watch: LinkWatch;
  /** Milliseconds; Infinity to wait for ever. */
  readonly timeout: number;
  readonly signals: readonly (AbortSignal | undefined)[];
  /** Gives up when each of these has been tried once; tries on until the timeout when left out. */
  readonly once?: readonly Transport[] | undefined;
}

/** The link for a new connection, waited for. @throws QtunnelError why there is none. */
export async function waitForLink(tunnel: ClientTunnel, { watch, timeout, signals, once }: LinkWait): Promise<Link> {
  throwIfAborted(signals);
  return await new Promise((resolve, reject) => {
    const undo: (() => void)[] = [];
    const settle = (): void => undo.forEach((call) => call());
    const fail = (error: QtunnelError): void => {
      settle();
      reject(error);
    };
    const look = (): void => {
      const link = usableLink(tunnel);
      const hopeless = watch.refusal ?? (once !== undefined && watch.haveFailed(once) ? watch.lastFailure : undefined);
      if (link !== null) {
        settle();
        resolve(link);
      } else if (hopeless !== undefined) fail(hopeless);
    };
    undo.push(watch.onChange(look), onAbort(signals, fail));
    if (timeout !== Infinity) {
      const timer = setTimeout(() => fail(watch.lastFailure ?? noAnswer(timeout)), timeout);
      undo.push(() => clearTimeout(timer));
    }
    look();
  });
}

function usableLink({ uplink }: ClientTunnel): Link | null {
  const link = uplink.current();
  return link === null || link.state === 'draining' || link.state === 'closed' ? null : link;
}

function noAnswer(timeout: number): QtunnelError {
  return new QtunnelError(
    'LINK_TIMEOUT',
    `No link to the server came up within ${timeout} ms (dialTimeout); check that it runs and can be reached.`,
  );
}
