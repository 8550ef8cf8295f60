import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { PublicConversation } from './public-conversation.ts';
import type { PublishedPort } from './published-port.ts';

/** Listens on a UDP port and keeps a conversation for each client, for as long as one of the two says something. */
export class UdpEar {
  readonly #socket: Socket;
  readonly #port: PublishedPort;
  readonly #conversations = new Map<string, PublicConversation>();
  readonly #timer: NodeJS.Timeout;
  #closing = false;

  private constructor(socket: Socket, port: PublishedPort) {
    this.#socket = socket;
    this.#port = port;
    socket.on('message', (datagram, from) => this.#handle(datagram, from));
    socket.on('error', (error) => port.failed(`UDP: ${error.message}`));
    const { udpTimeout } = port.around.limits();
    this.#timer = setInterval(() => this.#expire(), Math.max(100, udpTimeout / 4)).unref();
  }

  /** @throws QtunnelError `LISTEN_FAILED` */
  static open(address: Address, port: PublishedPort): Promise<UdpEar> {
    const { host } = address;
    const socket = createSocket({ type: host === '' || isIPv6(host) ? 'udp6' : 'udp4', recvBufferSize: RECEIVE_BUFFER });
    return new Promise((resolve, reject) => {
      socket.once('error', (error: NodeJS.ErrnoException) => reject(listenFailed(address, error)));
      socket.bind({ port: address.port, ...(host !== '' && { address: host }) }, () => {
        socket.removeAllListeners('error');
        resolve(new UdpEar(socket, port));
      });
    });
  }

  /** Takes no more clients; conversations go on for as long as they last. */
  close(): void {
    this.#closing = true;
    this.#closeWhenQuiet();
  }

  #handle(datagram: Buffer, { address, port }: RemoteInfo): void {
    // To where no answer can go (RFC 768), and Node throws at one.
    if (port === 0) return;
    const key = `${address} ${port}`;
    const known = this.#conversations.get(key);
    const conversation = known ?? this.#begin({ host: address, port }, key);
    if (conversation === undefined) return;
    // The last is who was heard last.
    if (known !== undefined) this.#conversations.delete(key);
    this.#conversations.set(key, conversation);
    conversation.handle(datagram);
  }

  #begin(client: Address, key: string): PublicConversation | undefined {
    if (this.#closing) return undefined;
    const { carrier } = this.#port;
    // Before anybody makes room for it.
    const stranger = this.#port.refusalOf(client.host);
    if (stranger !== null) return this.#refuse(stranger.kind, stranger.message, client);
    if (carrier !== 'hub' && 'problem' in carrier) return this.#refuse('away', carrier.problem, client);
    this.#makeRoom(client.host);
    const refusal = this.#port.refusalFor(client.host, null);
    if (refusal !== null) return this.#refuse(refusal.kind, refusal.message, client);
    const reply = (datagram: Uint8Array): void => this.#socket.send(Uint8Array.from(datagram), client.port, client.host);
    const conversation = new PublicConversation(client, this.#port, reply, () => {
      this.#conversations.delete(key);
      this.#closeWhenQuiet();
    });
    return conversation.open(carrier) ? conversation : undefined;
  }

  /** Sources may be made up: who has not been heard for longest goes. Who has a share of all makes room for himself. */
  #makeRoom(host: string): void {
    const most = Math.min(MOST_CONVERSATIONS, this.#port.around.limits().maxConnections);
    if (this.#conversations.size < most) return;
    const own = [...this.#conversations.keys()].filter((key) => key.startsWith(`${host} `));
    const [oldest] = own.length > most / SHARES ? own : this.#conversations.keys();
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

function listenFailed({ host, port }: Address, error: NodeJS.ErrnoException): QtunnelError {
  const where = `UDP port ${port}${host === '' ? '' : ` of ${host}`}`;
  const why = WHY[error.code ?? ''] ?? error.message;
  return new QtunnelError('LISTEN_FAILED', `Cannot listen on ${where}: ${why}; choose another port.`, { cause: error });
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
/** Bytes, as far as the system allows. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;
