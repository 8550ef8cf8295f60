import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { test } from 'tap';
import type { Test } from 'tap';
import { scryptSecret } from '../../src/identity/scrypt-secret.ts';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { InitialProof, PROOF_NONCE } from '../../src/protocol/initial-proof.ts';
import { cryptoInitial } from '../support/crypto-flood.ts';
import { SECRET, startTunnel, type Tunnel } from '../support/qtunnel.ts';
import { makers, spoofed, STRANGERS } from '../support/strangers.ts';
import { dial, echoes, echoServer } from '../support/tcp.ts';

/** Of each kind. `FLOOD=100000` is the whole of it. */
const DATAGRAMS = Number(process.env['FLOOD'] ?? 3_000);
/** Bytes. */
const MOST_GROWTH = 5 * 1024 * 1024;

/** In batches the kernel drops the most of it; without them all of it comes to the process. */
for (const udp of ['auto', 'dgram'])
  test(`-udp=${udp}: spoofed Initials, random datagrams and a CRYPTO flood: no answer, no growth, and clients notice nothing`, async (t) => {
    const tunnel = await startTunnel(t, 'quic', await echoServer(t), { serverFlags: [`-udp=${udp}`] });
    const stranger = await Stranger.open(t, tunnel);
    const connection = await dial(t, tunnel.port);
    t.ok(await echoes(connection, 'before'));
    const make = makers();
    for (const name of STRANGERS) await stranger.flood(2_500, make[name]);
    const before = memoryOf(tunnel);

    for (const name of STRANGERS) {
      await stranger.flood(DATAGRAMS, make[name]);
      t.ok(await echoes(connection, name), `the connection goes on: ${name}`);
    }
    t.equal(stranger.answers, 0);
    const growth = memoryOf(tunnel) - before;
    t.ok(growth < MOST_GROWTH, `${(growth / 1024 / 1024).toFixed(1)} MB more`);
    t.ok(await echoes(await dial(t, tunnel.port), 'after'));
    t.same([...tunnel.client.process.events('link_down'), ...tunnel.server.process.events('link_down')], []);
  });

test('a CRYPTO flood by one who knows the secret ends where his bytes do', async (t) => {
  const tunnel = await startTunnel(t, 'quic', await echoServer(t));
  const stranger = await Stranger.open(t, tunnel);
  t.ok(await echoes(await dial(t, tunnel.port), 'before'));
  await stranger.flood(2_000, spoofed);
  const before = memoryOf(tunnel);
  const proof = new InitialProof(hmacSha256, scryptSecret(SECRET));
  const ids = [randomBytes(16), proof.make(randomBytes(PROOF_NONCE), Date.now() / 1000)] as const;
  await stranger.flood(5_000, (n) => cryptoInitial(...ids, n));
  t.ok(await echoes(await dial(t, tunnel.port), 'after'));
  t.ok(stranger.answers > 0, 'quiche has heard him');
  const growth = memoryOf(tunnel) - before;
  t.ok(growth < MOST_GROWTH, `${(growth / 1024 / 1024).toFixed(1)} MB more`);
});

/** A socket whose every answer is counted. */
class Stranger {
  answers = 0;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', () => this.answers++);
  }

  static async open(t: Test, { server }: Tunnel): Promise<Stranger> {
    const socket = createSocket('udp4');
    t.teardown(() => socket.close());
    await new Promise<void>((resolve) => socket.connect(server.port, '127.0.0.1', resolve));
    return new Stranger(socket);
  }

  /** In portions, between which the server gets to run. */
  async flood(count: number, make: (n: number) => Uint8Array): Promise<void> {
    for (let n = 0; n < count;) {
      const portion = Math.min(50, count - n);
      const sent = Array.from({ length: portion }, () => this.#send(make(n++)));
      await Promise.all(sent);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #send(datagram: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => this.#socket.send(datagram, (error) => (error ? reject(error) : resolve())));
  }
}

function memoryOf({ server }: Tunnel): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.process.pid}/status`, 'utf8'))![1]);
}
