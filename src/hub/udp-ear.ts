import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { sourceKey } from '../tunnel/quota.ts';
import type { UdpAddress, UdpHandler, UdpSocket } from '../udp/socket.ts';
import { PublicConversation } from './public-conversation.ts';
import type { PublishedPort } from './published-port.ts';

/** Listens on a UDP port and keeps a conversation for each client, for as long as one of the two says something. */
export class UdpEar implements UdpHandler {
  readonly #socket: UdpSocket;
  readonly #port: PublishedPort;
  readonly #conversations = new Map<string, PublicConversation>();
  readonly #timer: NodeJS.Timeout;
  #closing = false;

  private constructor(socket: UdpSocket, port: PublishedPort) {
    this.#socket = socket;
    this.#port = port;
    socket.handler = this;
    const { udpTimeout } = port.around.limits();
    this.#timer = setInterval(() => this.#expire(), Math.max(100, udpTimeout / 4)).unref();
  }

  /** @throws QtunnelError `LISTEN_FAILED` */
  static async open(address: Address, port: PublishedPort): Promise<UdpEar> {
    try {
      return new UdpEar(await port.around.openUdp({ bind: address, isPlain: true }), port);
    } catch (error) {
      throw listenFailed(address, error as QtunnelError);
    }
  }

  /** Takes no more clients; conversations go on for as long as they last. */
  close(): void {
    this.#closing = true;
    this.#closeWhenQuiet();
  }

  onDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    // To where no answer can go (RFC 768).
    if (from.port === 0) return;
    const key = `${from.host} ${from.port} ${from.local ?? ''}`;
    const known = this.#conversations.get(key);
    const conversation = known ?? this.#begin(from, key);
    if (conversation === undefined) return;
    // The last is who was heard last.
    if (known !== undefined) this.#conversations.delete(key);
    this.#conversations.set(key, conversation);
    // What it goes to may keep it for a while.
    conversation.handle(bytes.slice(offset, offset + length));
  }

  onError({ message }: QtunnelError): void {
    this.#port.failed(`UDP: ${message}`);
  }

  #begin(client: UdpAddress, key: string): PublicConversation | undefined {
    if (this.#closing) return undefined;
    const { carrier } = this.#port;
    // Before anybody makes room for it.
    const stranger = this.#port.refusalOf(client.host);
    if (stranger !== null) return this.#refuse(stranger.kind, stranger.message, client);
    if (carrier !== 'hub' && 'problem' in carrier) return this.#refuse('away', carrier.problem, client);
    this.#makeRoom(client.host);
    const refusal = this.#port.refusalFor(client.host, null);
    if (refusal !== null) return this.#refuse(refusal.kind, refusal.message, client);
    const conversation = new PublicConversation(
      client,
      this.#port,
      (datagram) => this.#reply(datagram, client),
      () => {
        this.#conversations.delete(key);
        this.#closeWhenQuiet();
      },
    );
    return conversation.open(carrier) ? conversation : undefined;
  }

  #reply(datagram: Uint8Array, client: UdpAddress): void {
    this.#socket.sendBuffer.set(datagram);
    this.#socket.send(datagram.length, datagram.length, client);
  }

  /** Sources may be made up: who has not been heard for longest goes. Who has a share of all, or all that one may have, makes room for himself. */
  #makeRoom(host: string): void {
    const { maxConnections, maxConnectionsPerClient } = this.#port.around.limits();
    const most = Math.min(MOST_CONVERSATIONS, maxConnections);
    const hasAll = this.#port.around.quota.of(sourceKey(host)) >= (maxConnectionsPerClient ?? Infinity);
    if (this.#conversations.size < most && !hasAll) return;
    const own = [...this.#conversations.keys()].filter((key) => key.startsWith(`${host} `));
    const [oldest] = hasAll || own.length > most / SHARES ? own : this.#conversations.keys();
    if (oldest !== undefined) this.#conversations.get(oldest)?.expire();
  }

  #refuse(kind: string, message: string, client: Address): undefined {
    this.#port.refused(kind, message, formatAddress(client));
  }

  #expire(): void {
    const before = performance.now() - this.#port.around.limits().udpTimeout;
    for (const conversation of this.#conversations.values()) if (conversation.lastHeard < before) conversation.expire();
  }

  #closeWhenQuiet(): void {
    if (!this.#closing || this.#conversations.size > 0) return;
    this.#closing = false;
    clearInterval(this.#timer);
    this.#socket.close();
  }
}

function listenFailed({ host, port }: Address, error: QtunnelError): QtunnelError {
  const where = `UDP port ${port}${host === '' ? '' : ` of ${host}`}`;
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  const why = WHY[cause?.code ?? ''] ?? cause?.message ?? error.message;
  return new QtunnelError('LISTEN_FAILED', `Cannot listen on ${where}: ${why}; choose another port.`, { cause });
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program uses it',
  EACCES: 'ports below 1024 need root or CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: 'this machine does not have that address',
};
/** Clients of one port. */
const MOST_CONVERSATIONS = 1_024;
/** An address with more than one of so many parts of a full port's clients takes no more from others. */
const SHARES = 4;
