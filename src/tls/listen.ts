import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import { type ErrorCode, QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import type { Link } from '../link/link.ts';
import { type LinkListener, type LinkOptions, type Refusal, type ServerKeys, wantsCertificates } from '../link/options.ts';
import { type PatientTimer, setPatientTimer } from '../link/patient-timer.ts';
import { type Listen, OWN_PORTS } from '../ports/ports.ts';
import { ALPN } from '../protocol/handshake.ts';
import type { Hello } from '../protocol/messages.ts';
import { sourceOf, Sources } from '../protocol/sources.ts';
import { CHACHA_FOR_WHO_WANTS_IT, cipherOrder } from './ciphers.ts';
import { TlsConnection } from './connection.ts';
import { chainOf, hashCertificate } from './context.ts';
import { ServerGreeting } from './greeting.ts';
import { isJoinNonce } from './join.ts';
import { TlsLink } from './link.ts';
import { acceptProblem, noCommonProtocol } from './problems.ts';

/**
 * Listens for links over TLS. An empty host stands for all addresses, port 0 for any.
 * @throws QtunnelError `LISTEN_FAILED`, `CERT_INVALID`, `CERT_KEY_MISMATCH`.
 */
export async function listenTls(
  address: TcpAddress,
  keys: ServerKeys,
  options: LinkOptions,
  { take, listen = OWN_PORTS.listen, directory = null }: ListenTlsOptions = {},
): Promise<LinkListener> {
  const listener = new TlsListener(keys, options, take);
  if (directory !== null) listener.use(directory);
  await listener.listen(address, listen);
  return listener;
}

export interface ListenTlsOptions {
  /** Gets the TCP connections in the listener's place, to hand them to one of `acceptTls`. */
  readonly take?: (socket: Socket) => void;
  readonly listen?: Listen;
  /** Where other processes' links are found. */
  readonly directory?: LinkDirectory | null;
}

/** A listener that does not listen itself: it is given the TCP connections that came in on `address`. @throws as above. */
export function acceptTls(address: TcpAddress, keys: ServerKeys, options: LinkOptions, directory: LinkDirectory): TlsAcceptor {
  const listener = new TlsListener(keys, options);
  listener.use(directory);
  listener.address = address;
  return listener;
}

/** What the workers of a server, or two processes at one port, know of each other's links: a link's connections may come to any of them. */
export interface LinkDirectory {
  /** From now on the others find the link. */
  announce(id: string, token: Uint8Array): void;
  /** The link is gone; `cut` says whether its streams were cut off. */
  withdraw(id: string, cut: boolean): void;
  /** The token of another worker's link; undefined when none has it. */
  find(id: string): Uint8Array | undefined;
  /** Another worker's link is gone. */
  onWithdrawn: (id: string, cut: boolean) => void;
  /** Nothing is announced or looked for any more. */
  close(): void;
}

export interface TlsAcceptor extends LinkListener {
  accept(socket: Socket): void;
}

interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** Makes sure that TLS takes certificate and key. @throws QtunnelError `CERT_INVALID`, `CERT_KEY_MISMATCH`. */
export function checkKeys(keys: ServerKeys): void {
  guardKeys(() => createSecureContext(tlsOptions(keys)));
}

/** A connection that is not yet a link's. */
interface Stranger {
  readonly socket: Socket;
  readonly peer: string;
  readonly source: string;
  /** Hash of the certificate that this connection is shown. */
  readonly certificate: Uint8Array;
  readonly timer: PatientTimer;
}

/** A client that has proven itself, and the options that it was told. */
interface Greeted {
  readonly hello: Hello;
  readonly token: Uint8Array;
  readonly options: LinkOptions;
}

class TlsListener implements TlsAcceptor {
  address: TcpAddress = { host: '', port: 0 };
  #directory: LinkDirectory | null = null;
  onLink: (link: Link) => void = () => {};
  onHandshakeFailure: (error: QtunnelError, peer: string) => void = () => {};
  hasRoom: LinkListener['hasRoom'] = () => true;
  refuseLink: LinkListener['refuseLink'] = () => null;
  onRefusal: (refusal: Refusal) => void = () => {};
  #options: LinkOptions;
  readonly #tcp: TcpServer;
  /** Never listens: it is given its connections. */
  #tls: TlsServer;
  /** By their addresses: that is what a TCP socket and the TLS socket made of it have in common. */
  readonly #strangers = new Map<string, Stranger>();
  readonly #sources: Sources;
  readonly #links = new Map<string, { link: TlsLink; token: Uint8Array }>();
  #certificate: Uint8Array;
  #closed = false;

  constructor(keys: ServerKeys, options: LinkOptions, take: (socket: Socket) => void = (socket) => this.accept(socket)) {
    this.#options = options;
    this.#sources = new Sources(options.sources);
    this.#certificate = hashCertificate(keys.certificateDer);
    this.#tls = this.#makeTls(options, keys);
    this.#tcp = createTcpServer({ noDelay: true }, take);
  }

  use(directory: LinkDirectory): void {
    this.#directory = directory;
    directory.onWithdrawn = (id, cut) => this.#endBranch(id, cut);
  }

  get handshakes(): number {
    return this.#sources.open;
  }

  async listen({ host, port }: TcpAddress, listen: Listen): Promise<void> {
    try {
      await listen(this.#tcp, { host, port, backlog: BACKLOG });
      const bound = this.#tcp.address() as AddressInfo;
      this.address = { host: bound.address, port: bound.port };
    } catch (error) {
      this.#tcp.close();
      throw listenProblem(error as NodeJS.ErrnoException, formatAddress({ host, port }));
    }
    // Out of descriptors: those who wait in the kernel are accepted when there are some again.
    this.#tcp.on('error', () => {});
  }

  prepare(options: LinkOptions, keys: ServerKeys): () => void {
    const tls = this.#makeTls(options, keys);
    return () => {
      this.#options = options;
      this.#tls = tls;
      this.#certificate = hashCertificate(keys.certificateDer);
    };
  }

  close(): Promise<void> {
    this.#tcp.close();
    this.#closed = true;
    // Not an end without an error, which a client takes for a refusal of its secret.
    for (const { socket } of this.#strangers.values()) socket.resetAndDestroy();
    this.#closeDirectory();
    return Promise.resolve();
  }

  accept(socket: Socket): void {
    const peer = formatAddress({ host: socket.remoteAddress ?? 'unknown', port: socket.remotePort ?? 0 });
    // A reset at any moment is the TLS layer's or the connection's to handle; before and after them it is nobody's.
    socket.on('error', () => {});
    // Gone already: without the peer's address it cannot be told from others that are.
    if (socket.remoteAddress === undefined) return void socket.destroy();
    if (!this.hasRoom(socket)) return void socket.resetAndDestroy();
    const key = addressesOf(socket);
    this.#dropPredecessor(key);
    const { strangers } = this.#options;
    const source = sourceOf(socket.remoteAddress ?? 'unknown');
    const refusal = this.#sources.judge(source, strangers, performance.now());
    if (refusal !== null) this.onRefusal(refusal);
    if (refusal === 'total') this.#makeRoom();
    else if (refusal !== null) return void socket.resetAndDestroy();
    const timer = setPatientTimer(() => this.#timeOut(key, strangers.timeout), strangers.timeout);
    this.#sources.begin(source);
    this.#strangers.set(key, { socket, peer, source, certificate: this.#certificate, timer });
    socket.once('close', () => {
      if (this.#strangers.get(key)?.socket === socket) this.#fail(key, wentAway());
    });
    this.#tls.emit('connection', socket);
  }

  /** A peer that has reset a connection may come again from the same port before Node hears of the reset. */
  #dropPredecessor(key: string): void {
    this.#strangers.get(key)?.socket.destroy();
    this.#fail(key, wentAway());
  }

  /** A client's certificate is judged with its HELLO, where the client can be told what is wrong. */
  #makeTls({ auth }: LinkOptions, keys: ServerKeys): TlsServer {
    const asking = { requestCert: wantsCertificates(auth), rejectUnauthorized: false };
    const tls = guardKeys(() => createTlsServer({ ...tlsOptions(keys), ...asking, ALPNProtocols: [ALPN] }));
    tls.on('secureConnection', (socket: TLSSocket) => this.#greet(socket));
    tls.on('tlsClientError', (error, socket: TLSSocket) => this.#fail(addressesOf(socket), acceptProblem(error)));
    return tls;
  }

  /** The longest silent goes: a client proves itself within milliseconds, so those who only hold places lose them to it. */
  #makeRoom(): void {
    const [oldest] = this.#strangers.keys();
    if (oldest === undefined) return;
    const message = `There are more than ${this.#options.strangers.maxHandshakes} connections that have not proven themselves (-max-handshakes); the oldest was closed.`;
    this.#strangers.get(oldest)!.socket.resetAndDestroy();
    this.#fail(oldest, new QtunnelError('SERVER_BUSY', message));
  }

  #greet(socket: TLSSocket): void {
    const key = addressesOf(socket);
    const stranger = this.#strangers.get(key);
    if (stranger === undefined) return void socket.destroy();
    const connection = new TlsConnection(socket, stranger.peer, this.#options.keepalive);
    if (socket.alpnProtocol !== ALPN) {
      this.#fail(key, noCommonProtocol());
      return connection.destroy();
    }
    // A link's connections may come to other processes or workers, where its streams are not.
    const options = this.#directory === null ? this.#options : { ...this.#options, lane: false };
    const shown = { server: stranger.certificate, client: chainOf(socket) };
    connection.handler = new ServerGreeting(connection, options, shown, {
      admit: (hello, token) => this.#admit(connection, key, { hello, token, options }),
      onFailure: (error) => this.#fail(key, error),
    });
  }

  #admit(connection: TlsConnection, key: string, greeted: Greeted): (() => void) | QtunnelError {
    const { hello } = greeted;
    const known = this.#links.get(hello.linkId) ?? this.#elsewhere(hello.linkId);
    if (known === undefined) {
      const refusal = this.refuseLink({ client: hello.client, peer: connection.peer });
      if (refusal !== null) return refusal;
      this.#forget(key, 'succeeded');
      // Before the client knows of it: its next connection may come to another worker.
      this.#directory?.announce(hello.linkId, greeted.token);
      return () => this.#startLink(connection, greeted);
    }
    if (!isJoinNonce(this.#options.auth.hmac, known.token, hello.nonce)) {
      return new QtunnelError('PROTOCOL_VIOLATION', 'This link belongs to another client.');
    }
    const { link = this.#startBranch(connection, greeted, known.token) } = known;
    if (link.client !== hello.client) return new QtunnelError('PROTOCOL_VIOLATION', 'This link belongs to another client.');
    if (!link.hasRoom) return new QtunnelError('SERVER_BUSY', 'The link takes no more connections.');
    this.#forget(key, 'succeeded');
    return () => link.join(connection);
  }

  #startLink(connection: TlsConnection, { hello, token, options }: Greeted): void {
    const link = new TlsLink(connection, options, {
      id: hello.linkId,
      client: hello.client,
      peer: hello.settings,
      rtt: Number.NaN,
      makeSource: null,
    });
    this.#links.set(link.id, { link, token });
    link.onForgotten = (cut) => {
      this.#links.delete(link.id);
      this.#directory?.withdraw(link.id, cut);
      this.#closeDirectory();
    };
    this.onLink(link);
  }

  #elsewhere(id: string): { link: undefined; token: Uint8Array } | undefined {
    const token = this.#directory?.find(id);
    return token === undefined ? undefined : { link: undefined, token };
  }

  /** This worker's part of a link that another worker keeps. */
  #startBranch(connection: TlsConnection, { hello, options }: Greeted, token: Uint8Array): TlsLink {
    const about = {
      id: hello.linkId,
      client: hello.client,
      peer: hello.settings,
      rtt: Number.NaN,
      makeSource: null,
      isBranch: true,
    };
    const link = new TlsLink(connection, options, about);
    this.#links.set(link.id, { link, token });
    link.onForgotten = () => {
      this.#links.delete(link.id);
      this.#closeDirectory();
    };
    this.onLink(link);
    return link;
  }

  /** The worker that kept the link has it no more. What is open goes on over its own connections, unless the link was cut off. */
  #endBranch(id: string, cut: boolean): void {
    const link = this.#links.get(id)?.link;
    if (link?.isBranch !== true) return;
    if (cut) link.close(new QtunnelError('LINK_LOST', 'The link was lost.'));
    else link.onControlLost(new QtunnelError('LINK_CLOSED', 'The link has ended.'));
  }

  /** Links live on when the listener is closed. */
  #closeDirectory(): void {
    if (this.#closed && this.#links.size === 0) this.#directory?.close();
  }

  #timeOut(key: string, timeout: number): void {
    const socket = this.#strangers.get(key)?.socket;
    this.#fail(key, new QtunnelError('LINK_TIMEOUT', `The handshake was not completed within ${timeout / 1000} s.`));
    socket?.destroy();
  }

  #fail(key: string, error: QtunnelError): void {
    const stranger = this.#forget(key, HARMLESS.has(error.code) ? 'unknown' : 'failed');
    if (stranger !== undefined) this.onHandshakeFailure(error, stranger.peer);
  }

  #forget(key: string, outcome: 'succeeded' | 'failed' | 'unknown'): Stranger | undefined {
    const stranger = this.#strangers.get(key);
    if (stranger === undefined) return undefined;
    stranger.timer.cancel();
    this.#strangers.delete(key);
    this.#sources.settle(stranger.source, outcome, this.#options.strangers, performance.now());
    return stranger;
  }
}

function wentAway(): QtunnelError {
  return new QtunnelError('LINK_LOST', 'The peer went away during the handshake.');
}

function addressesOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function tlsOptions(keys: ServerKeys) {
  const secureOptions = CHACHA_FOR_WHO_WANTS_IT;
  return {
    key: keys.privateKeyPem,
    cert: keys.certificatePem,
    minVersion: 'TLSv1.3' as const,
    ciphers: cipherOrder(),
    secureOptions,
  };
}

/** Runs what takes in a certificate and its key, and says in our words what is wrong with them. */
function guardKeys<T>(run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH') {
      throw new QtunnelError(
        'CERT_KEY_MISMATCH',
        'The key does not belong to the certificate; give the pair that belongs together.',
        { cause },
      );
    }
    throw new QtunnelError('CERT_INVALID', `The certificate or its key cannot be used (${(cause as Error).message}).`, { cause });
  }
}

function listenProblem(cause: NodeJS.ErrnoException, where: string): QtunnelError {
  const why = LISTEN_PROBLEMS[cause.code ?? ''] ?? `the system says ${cause.code ?? cause.message}`;
  return new QtunnelError('LISTEN_FAILED', `Cannot listen on ${where} (TCP): ${why}.`, { cause });
}

const LISTEN_PROBLEMS: Record<string, string> = {
  EADDRINUSE: 'the port is taken by another program; stop it or choose another port',
  EACCES: 'this needs privileges; choose a port above 1023',
  EADDRNOTAVAIL: 'this machine does not have that address',
};
/** How a handshake ends that does not count against its source: this side had no place, or the peer left, as those do who see whether a port is open. */
const HARMLESS: ReadonlySet<ErrorCode> = new Set(['SERVER_BUSY', 'LINK_LOST']);
const BACKLOG = 1024;
