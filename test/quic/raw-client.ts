import { createHash, randomBytes } from 'node:crypto';
import { type Connection, quiche } from '@matrixai/quic/native/index.js';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { ALPN, ClientHandshake } from '../../src/protocol/handshake.ts';
import { InitialProof, PROOF_NONCE } from '../../src/protocol/initial-proof.ts';
import { clientConfig } from '../../src/quic/config.ts';
import type { UdpSocket } from '../../src/udp/socket.ts';
import { PORT, type World } from './pair.ts';

/** A client made of quiche alone, which says on its streams whatever a test wants. For a network that loses nothing. */
export class RawClient {
  readonly native: Connection;
  readonly #udp: UdpSocket;
  readonly #world: World;
  readonly #packet = new Uint8Array(1350);

  constructor(world: World, udp: UdpSocket, alpn: string) {
    this.#world = world;
    this.#udp = udp;
    const config = clientConfig({ congestion: 'cubic', blocks: 'off', idleTimeout: 30_000, datagrams: true });
    config.setApplicationProtos([alpn]);
    // A first window with room for all that a test says at once.
    config.setMaxSendUdpPayloadSize(16_384);
    this.native = quiche.Connection.connect('localhost', ownId(world), udp.address, SERVER, config);
    udp.handler = {
      onDatagram: (bytes, offset, length) => {
        try {
          this.native.recv(bytes.slice(offset, offset + length), { from: SERVER, to: udp.address });
        } catch {
          // The test looks at what the server makes of it.
        }
        this.flush();
      },
      onError() {},
    };
    this.flush();
  }

  /** One that sends its first packet and is not heard of again. */
  static async begin(world: World): Promise<void> {
    const udp = await world.network.open({ bind: { host: '', port: 0 }, connect: SERVER });
    const client = new RawClient(world, udp, ALPN);
    client.flush();
    udp.handler = { onDatagram() {}, onError() {} };
  }

  /** One that has finished the QUIC handshake and said nothing. */
  static async connect(world: World, alpn = ALPN): Promise<RawClient> {
    const udp = await world.network.open({ bind: { host: '', port: 0 }, connect: SERVER });
    const client = new RawClient(world, udp, alpn);
    await world.drive(() => client.native.isEstablished() || client.native.isDraining(), 'a raw client’s handshake');
    return client;
  }

  /** One whose HELLO was accepted, and which says that it takes so many bytes of a stream unasked. */
  static async greet(world: World, initialCredit = 1 << 20): Promise<RawClient> {
    const client = await RawClient.connect(world);
    const links = world.links.length;
    client.send(0, client.hello({ initialCredit }), false);
    await world.drive(() => world.links.length > links, 'a raw client’s link');
    return client;
  }

  hello({ initialCredit = 1 << 20, key = this.#world.key }: { initialCredit?: number; key?: Uint8Array | null } = {}): Uint8Array {
    const [certificate] = this.native.peerCertChain()!;
    const context = {
      hmac: hmacSha256,
      key,
      certificate: createHash('sha256').update(certificate!).digest(),
      nonce: randomBytes(16),
      software: 'raw',
      settings: {
        initialCredit,
        maxStreams: 100,
        idleTimeout: 30_000,
        shards: 0,
        parity: 0,
        serverOpens: 1,
        datagrams: 0,
        reuse: 0,
        lane: 0,
        endpoints: 0,
      },
    };
    return new ClientHandshake(context, randomBytes(8).toString('hex')).hello;
  }

  send(stream: number, bytes: Uint8Array, fin: boolean): void {
    this.native.streamSend(stream, bytes, fin);
    this.flush();
  }

  sendDatagram(bytes: Uint8Array): void {
    this.native.dgramSend(bytes);
    this.flush();
  }

  flush(): void {
    for (let sent = this.native.send(this.#packet); sent !== null; sent = this.native.send(this.#packet)) {
      this.#udp.sendBuffer.set(this.#packet.subarray(0, sent[0]));
      this.#udp.send(sent[0], sent[0], SERVER);
    }
  }

  /** Runs until the server has ended the connection; the CONNECTION_CLOSE as code and words. */
  async closed(): Promise<{ code: number; reason: string }> {
    await this.#world.drive(() => this.native.peerError() !== null, 'the server to close a connection');
    const { errorCode, reason } = this.native.peerError()!;
    return { code: errorCode, reason: Buffer.from(reason).toString() };
  }
}

/** With the proof that the server wants before it says anything. */
function ownId({ key, clock }: World): Uint8Array {
  return key === null ? randomBytes(16) : new InitialProof(hmacSha256, key).make(randomBytes(PROOF_NONCE), clock.date());
}

const SERVER = { host: '127.0.0.1', port: PORT };
