import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { LinkAuth, LinkListener, LinkUse, Refusal, ServerKeys } from '../link/options.ts';
import type { QuicListenOptions } from '../quic/listen.ts';
import { SourceRecords } from '../protocol/sources.ts';
import type { Quic } from '../quic/load.ts';
import { checkKeys } from '../tls/listen.ts';
import { linkOptions } from './security.ts';
import type { Supplies } from './supplies.ts';

export interface ListenersHandler {
  onLink(link: Link): void;
  /** As in `LinkListener`. */
  hasRoom(socket: Socket): boolean;
  /** As in `LinkListener`. */
  refuseLink: LinkListener['refuseLink'];
  /** Somebody came to this port and was turned away, or gave up; `peer` is `host:port`. */
  onTurnedAway(error: QtunnelError, peer: string, port: number): void;
  onRefusal(transport: Transport, refusal: Refusal): void;
}

/** New settings that are ready. Exactly one of the two is to be called. */
export interface ListenersChange {
  /** Whether a listener is opened or closed by it. */
  readonly moves: boolean;
  /** Returns the transports whose links came through a listener that is closed now. */
  takeEffect(): ReadonlySet<Transport>;
  discard(): void;
}

type Transport = Link['transport'];
/** How listeners are opened. */
export interface OpenEars extends Pick<Supplies, 'listenTls'> {
  loadQuic(): Promise<Pick<Quic, 'listenQuic'>>;
}

type Ears = Partial<Record<Transport, LinkListener<QuicListenOptions>>>;

/** A server's ears: UDP for QUIC, TCP for TLS, on the same port number. */
export class Listeners {
  readonly #handler: ListenersHandler;
  readonly #open: OpenEars;
  readonly #use: LinkUse;
  /** For UDP and TCP together, and for as long as the server runs. */
  readonly #sources = new SourceRecords();
  /** Where to listen as the user gave it; null before anything is open. */
  #listen: Address | null = null;
  #ears: Ears = {};
  readonly #closing = new Set<Promise<void>>();

  constructor(handler: ListenersHandler, open: OpenEars, use: LinkUse = {}) {
    this.#handler = handler;
    this.#open = open;
    this.#use = use;
  }

  get udp(): Address | null {
    return this.#ears.quic?.address ?? null;
  }

  get tcp(): Address | null {
    return this.#ears.tls?.address ?? null;
  }

  /** Handshakes that are open, of each transport; 0 of one that is not listened on. */
  get handshakes(): Record<Transport, number> {
    return { quic: this.#ears.quic?.handshakes ?? 0, tls: this.#ears.tls?.handshakes ?? 0 };
  }

  /** The host as the user gave it, and the port that is listened on. */
  get address(): Address {
    return { host: this.#listen?.host ?? '', port: (this.udp ?? this.tcp)?.port ?? 0 };
  }

  /**
   * Opens what these settings need besides what is open; the other settings count for links that come when they have taken effect. One after
   * the other only.
   * @throws QtunnelError `LISTEN_FAILED`, `CERT_INVALID`, `CERT_KEY_MISMATCH`, `INTERNAL`; nothing has changed then.
   */
  async prepare(settings: TunnelSettings, keys: ServerKeys, auth: LinkAuth): Promise<ListenersChange> {
    checkKeys(keys);
    const options = {
      ...linkOptions(settings, auth),
      ...this.#use,
      sources: this.#sources,
      congestion: settings.congestion,
      blocks: settings.blocks,
      fec: settings.fec,
      udp: settings.udp,
      earlyData: settings.earlyData,
    };
    const wanted = transportsOf(settings);
    const stays = isDeepStrictEqual(settings.listen, this.#listen);
    const kept = stays ? only(this.#ears, wanted) : {};
    const missing = wanted.filter((transport) => kept[transport] === undefined);
    const changes = Object.values(kept).map((listener) => listener.prepare(options, keys));
    const opened = await openAll(this.#open, stays ? this.address : settings.listen, missing, keys, options);
    const dropped = Object.entries(this.#ears).filter(([transport]) => kept[transport as Transport] === undefined);
    return {
      moves: missing.length > 0 || dropped.length > 0,
      takeEffect: () => {
        for (const change of changes) change();
        for (const [transport, listener] of Object.entries(opened)) this.#attach(transport as Transport, listener);
        for (const [, listener] of dropped) this.#close(listener);
        this.#listen = settings.listen;
        this.#ears = { ...kept, ...opened };
        return new Set(dropped.map(([transport]) => transport as Transport));
      },
      discard: () => closeAll(opened),
    };
  }

  /** Takes no more clients. Resolves when all ports are free. */
  async close(): Promise<void> {
    for (const listener of Object.values(this.#ears)) this.#close(listener);
    await Promise.all(this.#closing);
  }

  #attach(transport: Transport, listener: LinkListener): void {
    listener.onLink = (link) => this.#handler.onLink(link);
    // Still needed when the listener has been closed and has no address any more.
    const { port } = listener.address;
    listener.onHandshakeFailure = (error, peer) => this.#handler.onTurnedAway(error, peer, port);
    listener.hasRoom = (socket) => this.#handler.hasRoom(socket);
    listener.refuseLink = (who) => this.#handler.refuseLink(who);
    listener.onRefusal = (refusal) => this.#handler.onRefusal(transport, refusal);
  }

  #close(listener: LinkListener): void {
    const closing = listener.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

function transportsOf({ quic, fallback }: TunnelSettings): Transport[] {
  if (!quic) return ['tls'];
  return fallback ? ['quic', 'tls'] : ['quic'];
}

function only(ears: Ears, wanted: readonly Transport[]): Ears {
  return Object.fromEntries(Object.entries(ears).filter(([transport]) => wanted.includes(transport as Transport)));
}

/** All of them or none. TCP first: what is free there is mostly free in UDP as well, so that port 0 gives both the same. */
async function openAll(
  open: OpenEars,
  { host, port }: Address,
  transports: readonly Transport[],
  keys: ServerKeys,
  options: QuicListenOptions,
): Promise<Ears> {
  const quic = transports.includes('quic') ? await open.loadQuic() : null;
  for (let attempt = 1; ; attempt++) {
    const opened: Ears = {};
    try {
      if (transports.includes('tls')) opened.tls = notYet(await open.listenTls({ host, port }, keys, options));
      const chosen = opened.tls?.address.port ?? port;
      if (quic !== null) opened.quic = notYet(await quic.listenQuic({ host, port: chosen }, keys, options));
      return opened;
    } catch (error) {
      const second = opened.tls !== undefined;
      closeAll(opened);
      // Port 0 leaves the choice to the system, and its choice for TCP may be taken for UDP.
      if (port !== 0 || !second || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

/** A listener hears from the moment it is open, which others may have to follow before it counts. */
function notYet<T extends LinkListener>(listener: T): T {
  listener.onLink = (link) => link.close(new QtunnelError('SHUTTING_DOWN', 'The server is not ready yet.'));
  return listener;
}

function closeAll(ears: Ears): void {
  for (const listener of Object.values(ears)) void listener.close();
}

const PORT_ATTEMPTS = 10;
