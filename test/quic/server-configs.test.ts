import { createCipheriv } from 'node:crypto';
import { type Config, quiche } from '@matrixai/quic/native/index.js';
import { test } from 'tap';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { readLongHeaders } from '../../src/protocol/long-header.ts';
import { clientConfig } from '../../src/quic/config.ts';
import { readInitialCrypto } from '../../src/quic/initial-packet.ts';
import { ServerConfigs } from '../../src/quic/server-configs.ts';
import type { Ticket } from '../../src/quic/tickets.ts';
import { integerBetween, seededRandom } from '../support/random.ts';
import { connectOptions, OVER, quicOptions, World } from './pair.ts';

void test('an Initial is read with the keys that RFC 9001 gives as an example', async (t) => {
  const [hp, key, iv] = ['9f50449e04a0e810283a1e9933adedd2', '1f369613dd76d5467730efcbe3b1a22d', 'fa044b2f42a3fd3b46fb255c'];
  const head = Buffer.from('c300000001088394c8f03e5157080000449e00000002', 'hex');
  // Two CRYPTO frames and what fills the packet up.
  const frames = Buffer.concat([Buffer.from('06000461626364', 'hex'), Buffer.from('010604026566', 'hex'), Buffer.alloc(1149)]);
  const nonce = Buffer.from(iv!, 'hex');
  nonce[11]! ^= 2;
  const cipher = createCipheriv('aes-128-gcm', Buffer.from(key!, 'hex'), nonce).setAAD(head);
  const sealed = Buffer.concat([cipher.update(frames), cipher.final(), cipher.getAuthTag()]);
  const mask = createCipheriv('aes-128-ecb', Buffer.from(hp!, 'hex'), null).update(sealed.subarray(0, 16));
  head[0]! ^= mask[0]! & 0x0f;
  for (let i = 0; i < 4; i++) head[18 + i]! ^= mask[1 + i]!;
  for (const offset of [0, 7]) {
    const packet = Buffer.concat([Buffer.alloc(offset), head, sealed]);
    const header = readLongHeaders(packet, offset, packet.length - offset)!;
    t.equal(Buffer.from(readInitialCrypto(hmacSha256, packet, offset, header)).toString(), 'abcdef');
    packet[offset + 100]! ^= 1;
    t.equal(readInitialCrypto(hmacSha256, packet, offset, header).length, 0, 'nothing of a changed one');
  }
});

void test('a ticket is good for early data once, and without one there is nothing to use up', async (t) => {
  const [ticket, other] = await tickets(2);
  const { configs, made } = configsOf(10);
  const [plain, early] = made;
  t.equal(configFor(configs, first(ticket!)), early);
  t.equal(configFor(configs, first(ticket!)), plain, 'in another ClientHello');
  t.equal(configFor(configs, first(other!)), early);
  t.equal(configFor(configs, first(null)), early);
  t.equal(configFor(configs, first(null)), early);
  const broken = first(other!);
  broken[200]! ^= 1;
  t.equal(configFor(configs, broken), plain);
});

void test('what is remembered is bounded: then no ticket opens any more', async (t) => {
  const [one, two, three] = await tickets(3);
  const { configs, made } = configsOf(2);
  t.equal(configFor(configs, first(one!)), made[1]);
  t.equal(configFor(configs, first(two!)), made[1]);
  t.equal(configFor(configs, first(three!)), made[2]);
  t.not(made[2], made[1]);
  t.equal(configFor(configs, first(one!)), made[2], 'forgotten: with these settings it opens as little as any other');
  t.equal(made.length, 3);
});

void test('when no other settings can be made, tickets are not taken, rather than twice', async (t) => {
  const [one, two, three] = await tickets(3);
  const { configs, made, fail } = configsOf(2);
  configFor(configs, first(one!));
  configFor(configs, first(two!));
  fail(true);
  for (const ticket of [three!, one!, three!]) t.equal(configFor(configs, first(ticket)), made[0]);
  fail(false);
  t.equal(configFor(configs, first(three!)), made[2]);
});

void test('without early data nothing is looked for', async (t) => {
  const [ticket] = await tickets(1);
  const { configs, made } = configsOf(2, false);
  t.equal(configFor(configs, first(ticket!)), configFor(configs, first(ticket!)));
  t.equal(made.length, 1);
});

void test('whatever comes in an Initial, there are settings for it', async (t) => {
  const [ticket] = await tickets(1);
  const { configs, made } = configsOf(10);
  const random = seededRandom(1);
  const whole = first(ticket!);
  const header = readLongHeaders(whole, 0, whole.length)!;
  for (let n = 0; n < 2_000; n++) {
    const changed = Uint8Array.from(whole);
    changed[integerBetween(random, header.numberAt, header.end - 1)]! ^= 1 << integerBetween(random, 0, 7);
    if (configFor(configs, changed) !== made[0]) t.fail('a changed packet was read');
  }
  t.equal(configFor(configs, whole), made[1]);
});

/** What a client keeps of as many connections with one server. */
async function tickets(count: number): Promise<Ticket[]> {
  const world = new World();
  await world.listen(quicOptions({ earlyData: true }));
  const kept: Ticket[] = [];
  const keep = async (_place: number, ticket: Ticket): Promise<void> => void kept.push(ticket);
  const options = { ...connectOptions(), tickets: { take: () => Promise.resolve(null), keep } };
  for (let n = 1; n <= count; n++) {
    const link = await world.until(world.connect(options));
    await world.drive(() => kept.length === n, 'a ticket');
    link.close(OVER);
  }
  return kept;
}

/** The first datagram of a client that has the ticket. */
function first(ticket: Ticket | null): Uint8Array {
  const config = clientConfig({ congestion: 'bbr', blocks: 'auto', idleTimeout: 30_000, earlyData: true });
  const here = { host: '127.0.0.1', port: 1 };
  const native = quiche.Connection.connect('localhost', new Uint8Array(16), here, here, config);
  if (ticket !== null) native.setSession(ticket.session);
  const datagram = new Uint8Array(1350);
  return datagram.subarray(0, native.send(datagram)![0]);
}

function configsOf(most: number, takesEarlyData = true) {
  const made: Config[] = [];
  let fails = false;
  const make = (): Config => {
    if (fails) throw new Error('no memory');
    made.push({} as Config);
    return made.at(-1)!;
  };
  return { configs: new ServerConfigs(hmacSha256, takesEarlyData, make, most), made, fail: (does: boolean) => void (fails = does) };
}

function configFor(configs: ServerConfigs, datagram: Uint8Array): Config {
  return configs.configFor(datagram, 0, readLongHeaders(datagram, 0, datagram.length)!);
}
