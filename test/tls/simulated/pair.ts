import { QtunnelError } from '../../../src/errors.ts';
import { FRAME } from '../../../src/protocol/frames.ts';
import type { LinkSettings } from '../../../src/protocol/messages.ts';
import { type ConnectionHandler, TlsConnection } from '../../../src/tls/connection.ts';
import { TlsLink } from '../../../src/tls/link.ts';
import { WarmPool } from '../../../src/tls/pool.ts';
import { linkOptions } from '../pair.ts';
import type { Actor, SimulatedLoop } from './loop.ts';
import { asSocket, makeWire, type Wire, type WireChoices } from './wire.ts';

export interface PairOptions extends WireChoices {
  /** Whether the server takes streams on its control connection. */
  readonly lane: boolean;
  readonly serverOpens: boolean;
  /** The chance that a further connection cannot be made. */
  readonly failing: number;
}

/** Both ends of a link and all of its connections in memory, with the events of a simulated loop. */
export class SimulatedPair {
  readonly client: TlsLink;
  readonly server: TlsLink;
  /** The connections so far; the first is the control connection. */
  readonly wires: Wire[] = [];
  /** What an end said of the other that breaks the protocol. */
  readonly blames: string[] = [];
  /** How often the client has given a connection to a stream that had begun in a lane. */
  attached = 0;
  readonly #loop: SimulatedLoop;
  readonly #options: PairOptions;

  constructor(loop: SimulatedLoop, options: PairOptions) {
    this.#loop = loop;
    this.#options = options;
    const { client, server } = this.#wire();
    const common = linkOptions({ serverOpens: options.serverOpens, keepalive: NEVER, idleTimeout: NEVER });
    const about = { id: '00000000000000aa', rtt: 1 };
    this.server = new TlsLink(
      this.#connection(server, 'server'),
      { ...common, lane: options.lane },
      { ...about, peer: settings(options, true), makeSource: null },
    );
    const makeSource = (link: TlsLink): WarmPool => new WarmPool((signal, takeOver) => this.#dial(link, signal, takeOver));
    this.client = new TlsLink(this.#connection(client, 'client'), common, { ...about, peer: settings(options), makeSource });
  }

  get control(): Wire {
    return this.wires[0]!;
  }

  /** As much of a promise as the pool uses, but one that settles within a step. */
  #dial(link: TlsLink, signal: AbortSignal, takeOver: (connection: TlsConnection) => void): Promise<void> {
    let fail: (error: QtunnelError) => void = () => {};
    const actor = new Dial(this.#loop, {
      isGivenUp: () => signal.aborted,
      // A client that drains does not try again.
      isLucky: () => link.state !== 'up' || this.#loop.random() >= this.#options.failing,
      begin: () => {
        if (this.server.state === 'closed' || !this.server.hasRoom) return null;
        const wire = this.#wire();
        this.server.join(this.#connection(wire.server, 'server'));
        return wire;
      },
      succeed: ({ client }) => {
        const connection = this.#connection(client, 'client');
        link.adopt(connection);
        takeOver(connection);
      },
      fail: (error) => fail(error),
    });
    this.#loop.add(actor);
    return { catch: (onFailed: typeof fail) => void (fail = onFailed) } as unknown as Promise<void>;
  }

  #wire(): Wire {
    const wire = makeWire(this.#loop, this.#options);
    this.wires.push(wire);
    return wire;
  }

  #connection(end: Wire['client'], side: 'client' | 'server'): TlsConnection {
    const connection = new TlsConnection(asSocket(end), side === 'client' ? 'the server' : 'the client', NEVER);
    let watched = connection.handler;
    Object.defineProperty(connection, 'handler', {
      get: () => watched,
      set: (handler: ConnectionHandler) => {
        watched = this.#watch(handler, side);
      },
    });
    return connection;
  }

  #watch(handler: ConnectionHandler, side: 'client' | 'server'): ConnectionHandler {
    return {
      onFrame: (type, payload) => {
        if (type === FRAME.ATTACH && side === 'server') this.attached++;
        handler.onFrame(type, payload);
      },
      onData: (part) => handler.onData(part),
      onDrain: () => handler.onDrain(),
      onLost: (error) => {
        if (error.code === 'PROTOCOL_VIOLATION') this.blames.push(`the ${side}: ${error.message}`);
        handler.onLost(error);
      },
    };
  }
}

/** One attempt at a further connection: the server has it first, then the client. */
class Dial implements Actor {
  readonly #loop: SimulatedLoop;
  readonly #steps: DialSteps;
  #wire: Wire | null = null;

  constructor(loop: SimulatedLoop, steps: DialSteps) {
    this.#loop = loop;
    this.#steps = steps;
  }

  step(): boolean {
    const problem = this.#wire === null ? this.#begin() : this.#finish(this.#wire);
    if (problem !== null) {
      this.#loop.remove(this);
      this.#wire?.client.destroy();
      this.#steps.fail(problem);
    }
    return true;
  }

  #begin(): QtunnelError | null {
    if (this.#steps.isGivenUp()) return GIVEN_UP;
    if (!this.#steps.isLucky()) return new QtunnelError('LINK_TIMEOUT', 'Nobody answers.');
    this.#wire = this.#steps.begin();
    return this.#wire === null ? new QtunnelError('SERVER_BUSY', 'There is no room.') : null;
  }

  #finish(wire: Wire): QtunnelError | null {
    if (this.#steps.isGivenUp()) return GIVEN_UP;
    if (wire.client.destroyed) return new QtunnelError('LINK_LOST', 'The connection was broken off.');
    this.#loop.remove(this);
    this.#steps.succeed(wire);
    return null;
  }
}

interface DialSteps {
  isGivenUp(): boolean;
  isLucky(): boolean;
  begin(): Wire | null;
  succeed(wire: Wire): void;
  fail(error: QtunnelError): void;
}

function settings({ serverOpens, lane: hasLanes }: PairOptions, lane = hasLanes): LinkSettings {
  return {
    initialCredit: 0,
    maxStreams: 1024,
    idleTimeout: NEVER,
    shards: 0,
    parity: 0,
    datagrams: 0,
    serverOpens: serverOpens ? 1 : 0,
    reuse: 1,
    lane: lane ? 1 : 0,
    endpoints: 0,
  };
}

const GIVEN_UP = new QtunnelError('ABORTED', 'The attempt to connect was given up.');
/** Milliseconds; a link asks after nothing before. */
const NEVER = 1e9;
