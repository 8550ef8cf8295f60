import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { test } from 'tap';
import type { Test } from 'tap';
import { hmacSha256 } from '../../src/identity/secret.ts';
import type { Refusal } from '../../src/link/options.ts';
import { ConnectionIdIssuer } from '../../src/protocol/connection-id.ts';
import { InitialKeys } from '../../src/protocol/initial-keys.ts';
import { InitialProof, PROOF_NONCE } from '../../src/protocol/initial-proof.ts';
import { connectQuic } from '../../src/quic/connect.ts';
import { datagramFilter, type FilterChecks } from '../../src/quic/datagram-filter.ts';
import { environmentFor } from '../../src/quic/environment.ts';
import { FloodGate } from '../../src/quic/flood-gate.ts';
import { listenQuic } from '../../src/quic/listen.ts';
import { batchUdp } from '../../src/udp/batch.ts';
import type { BpfProgram } from '../../src/udp/classic-bpf.ts';
import { loadLibc } from '../../src/udp/libc.ts';
import type { UdpSocket } from '../../src/udp/socket.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { withDeadline } from '../support/deadline.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { spoofed, STRANGERS, makers } from '../support/strangers.ts';
import { connectOptions, newKeys, OVER, quicOptions, REQUEST, SECRET } from './pair.ts';

const needsLibc = { skip: loadLibc() === null && 'koffi is not installed, or this is not 64-bit Linux' };
const PROOFS = [1, 2].map((byte) => new InitialProof(hmacSha256, Buffer.alloc(32, byte)));
const ISSUERS = [3, 4].map((byte) => new ConnectionIdIssuer(hmacSha256, Buffer.alloc(32, byte)));
const CHECKS: FilterChecks = { clients: PROOFS.map(({ check }) => check), own: ISSUERS.map(({ check }) => check) };

/** Tells which datagrams come to a socket, by sending another behind each that always does. */
class Passing {
  readonly udp: UdpSocket;
  readonly #stranger: Socket;
  readonly #heard: string[] = [];
  #wake = () => {};

  private constructor(udp: UdpSocket, stranger: Socket) {
    this.udp = udp;
    this.#stranger = stranger;
    udp.handler = {
      onDatagram: (bytes, offset, length) => {
        this.#heard.push(Buffer.from(bytes.subarray(offset, offset + length)).toString('hex'));
        this.#wake();
      },
      onError() {},
    };
  }

  static async open(t: Test, host: string): Promise<Passing> {
    const udp = await batchUdp()!({ bind: { host, port: 0 } });
    t.teardown(() => udp.close());
    const stranger = await opened(t, host);
    await new Promise<void>((resolve) => stranger.connect(udp.address.port, host, resolve));
    return new Passing(udp, stranger);
  }

  async takes(datagram: Uint8Array): Promise<boolean> {
    const mark = Buffer.from(long(4, clientId(PROOFS[0]!)));
    this.#stranger.send(datagram);
    this.#stranger.send(mark);
    const came = new Promise<void>((resolve) => {
      this.#wake = () => this.#heard.includes(mark.toString('hex')) && resolve();
    });
    await withDeadline(came, () => 'a datagram that shows the secret');
    return this.#heard.splice(0).includes(Buffer.from(datagram).toString('hex'));
  }
}

for (const host of ['127.0.0.1', '::1']) {
  void test(
    `to ${host} what clients send comes through the kernel’s filter, and what strangers do does not`,
    needsLibc,
    async (t) => {
      const passing = await Passing.open(t, host);
      t.ok(passing.udp.setFilter!(datagramFilter(CHECKS)));
      for (const proof of PROOFS)
        for (const destination of [0, 1, 8, 16, 20])
          t.ok(await passing.takes(long(destination, clientId(proof))), `${destination} bytes`);
      for (const issuer of ISSUERS)
        for (const first of [0x40, 0x5a, 0x7f, 0x20, 0x21, 0x22, 0x23])
          t.ok(await passing.takes(short(first, issuer.issue(randomBytes(8)))), `0x${first.toString(16)}`);

      const good = long(8, clientId(PROOFS[0]!));
      for (const [what, datagram] of [
        ['another version', changed(good, 4)],
        ['without the fixed bit', changed(good, 0, 0x40)],
        ['another secret', long(8, clientId(new InitialProof(hmacSha256, SECRET)))],
        ['a longer destination id', long(21, clientId(PROOFS[0]!))],
        ['a shorter id', long(8, clientId(PROOFS[0]!).subarray(1))],
        ['no id', long(8, new Uint8Array(0))],
        ['cut within the id', good.subarray(0, 24)],
        ['another server’s id', short(0x40, new ConnectionIdIssuer(hmacSha256, SECRET).issue(randomBytes(8)))],
        ['half an id', short(0x40, ISSUERS[0]!.issue(randomBytes(8))).subarray(0, 9)],
        ['another type', short(0x24, ISSUERS[0]!.issue(randomBytes(8)))],
        ['a type below', short(0x1f, ISSUERS[0]!.issue(randomBytes(8)))],
        ['a byte', Uint8Array.of(0x40)],
        ['nothing', new Uint8Array(0)],
      ] as const)
        t.notOk(await passing.takes(datagram), what);
      const make = makers();
      for (const kind of STRANGERS) {
        let taken = 0;
        for (let n = 0; n < 100; n++) if (await passing.takes(make[kind](n))) taken++;
        t.ok(taken <= 1, `${kind}: ${taken} of 100`);
      }

      t.ok(passing.udp.setFilter!(datagramFilter({ clients: null, own: null })));
      t.ok(await passing.takes(spoofed()), 'without a secret any id will do');
      t.ok(await passing.takes(short(0x20, randomBytes(16))));
      t.notOk(await passing.takes(changed(spoofed(), 4)), 'but not any version');
      t.ok(passing.udp.setFilter!(null));
      t.ok(await passing.takes(changed(spoofed(), 4)), 'without a filter everything comes');
    },
  );
}

void test('the gate closes when there are many strangers, for a while, and then again', async (t) => {
  const clock = new FakeClock();
  const set: (BpfProgram | null)[] = [];
  const udp = { setFilter: (program: BpfProgram | null) => set.push(program) > 0 } as unknown as UdpSocket;
  let program: BpfProgram = [[1, 0, 0, 0]];
  const gate = new FloodGate(udp, clock, () => program);
  t.same(set.splice(0), [null], 'whatever filter an adopted socket has');
  for (let second = 0; second < 5; second++) {
    for (let n = 0; n < 200; n++) gate.handleStranger();
    await clock.advance(1_000);
  }
  t.same(set, [], 'few a second cost little');
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 300; n++) gate.handleStranger();
    t.same(set.splice(0), [program]);
    await clock.advance(9_999);
    t.same(set, []);
    await clock.advance(1);
    t.same(set.splice(0), [null]);
  }
  gate.refresh();
  t.same(set, [], 'an open gate needs no other program');
  for (let n = 0; n < 300; n++) gate.handleStranger();
  program = [[2, 0, 0, 0]];
  gate.refresh();
  t.same(set.splice(1), [program]);
  gate.open();
  gate.open();
  t.same(set.splice(1), [null]);
  await clock.advance(20_000);
  t.equal(set.length, 1, 'the timer is gone');
});

void test('clients whose keys are many are not looked for', async (t) => {
  const keys = (own: number, named: number) => {
    const all = Array.from({ length: own + named }, (_, n) => Buffer.alloc(32, n));
    return new InitialKeys(hmacSha256, all.slice(0, own), all.slice(own));
  };
  t.equal(keys(2, 0).checks?.length, 2);
  t.equal(keys(1, 3).checks?.length, 4);
  t.equal(keys(1, 4).checks, null);
});

void test('in a flood clients come in, and links go on; most of it never reaches the process', needsLibc, async (t) => {
  const environment = environmentFor('batch');
  const listener = await listenQuic({ host: '127.0.0.1', port: 0 }, newKeys(), quicOptions(), environment);
  const accepted: LinkRecorder[] = [];
  const refused = new Map<Refusal, number>();
  listener.onLink = (link) => void accepted.push(new LinkRecorder(link));
  listener.onRefusal = (refusal) => void refused.set(refusal, (refused.get(refusal) ?? 0) + 1);
  const connect = () =>
    connectQuic({ ...listener.address, serverName: 'localhost' }, connectOptions(), new AbortController().signal, environment);
  const before = await connect();
  const stranger = await opened(t, '127.0.0.1');
  for (let n = 0; n < 60; n++) {
    for (let k = 0; k < 50; k++) stranger.send(spoofed(), listener.address.port, '127.0.0.1');
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(refused.get('secret')! > 200);
  // The first come in before the gate closes.
  t.ok(refused.get('secret')! < 1_000, `${refused.get('secret')} of 3000`);
  const after = await withDeadline(connect(), () => 'a client while the gate is closed');
  for (const link of [before, after]) {
    const recorder = new StreamRecorder(link.open(REQUEST));
    await recorder.write(randomBytes(100_000));
    recorder.stream.end();
  }
  for (const link of accepted) {
    const { recorder } = await link.accept();
    await recorder.until('the bytes of a stream', () => recorder.ended);
    t.equal(recorder.received, 100_000);
  }
  for (const link of [before, after]) link.close(OVER);
  await listener.close();
});

async function opened(t: Test, host: string): Promise<Socket> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  return socket;
}

function long(destination: number, source: Uint8Array): Uint8Array {
  return Uint8Array.of(0xc0, 0, 0, 0, 1, destination, ...randomBytes(destination), source.length, ...source, ...randomBytes(30));
}

function short(first: number, id: Uint8Array): Uint8Array {
  return Uint8Array.of(first, ...id, ...randomBytes(30));
}

function clientId(proof: InitialProof): Uint8Array {
  return proof.make(randomBytes(PROOF_NONCE), 1_800_000_000);
}

function changed(datagram: Uint8Array, at: number, mask = 0xff): Uint8Array {
  const other = Uint8Array.from(datagram);
  other[at]! ^= mask;
  return other;
}
