import { test } from 'tap';
import { Arrivals } from '../../../src/protocol/delivery/arrivals.ts';
import type { ParityPolicy } from '../../../src/protocol/delivery/parity-policy.ts';
import { ParityReceiver } from '../../../src/protocol/delivery/parity-receiver.ts';
import { ParitySender } from '../../../src/protocol/delivery/parity-sender.ts';
import { readParityHeader, writeParityHeader } from '../../../src/protocol/delivery/parity-shard.ts';
import { SHARD_HEADER } from '../../../src/protocol/shard.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';
import { CountingPool, ID, packetOf, shardsOf } from '../shards.ts';

const SHARE = 100;

class Policy implements ParityPolicy {
  readonly data: number;
  readonly parity: number;
  least = 1;
  duration = Infinity;
  on = true;

  constructor(data: number, parity: number) {
    this.data = data;
    this.parity = parity;
  }

  takes(): boolean {
    return this.on;
  }

  parityFor(k: number): number {
    return Math.min(k, this.parity);
  }

  handleIdle(): void {}

  handleReport(): void {}
}

/** Packets become shards and parity, in the order in which they go out. */
class Sender {
  readonly policy: Policy;
  readonly parity: ParitySender;
  readonly packets: Uint8Array[] = [];
  now = 0;
  out: Uint8Array[] = [];
  next: number;

  constructor(data: number, parity: number, first = 0) {
    this.policy = new Policy(data, parity);
    this.next = first;
    this.parity = new ParitySender(this.policy, ID, (length, write) => {
      const datagram = new Uint8Array(length + 50).fill(0xee);
      write(datagram);
      this.out.push(datagram.slice(0, length));
    });
  }

  send(length: number, share = SHARE): this {
    const packet = packetOf(this.packets.length, length);
    this.packets.push(packet);
    for (const [index, datagram] of shardsOf(packet, Math.min(share, length), this.next).entries()) {
      this.out.push(datagram);
      const count = Math.ceil(length / share);
      this.parity.handleSent(this.next + index, count, index, length, datagram.subarray(SHARD_HEADER), this.now);
    }
    this.next += Math.ceil(length / share);
    return this;
  }

  pause(): Uint8Array[] {
    this.parity.handlePause(this.now);
    this.now += 10;
    this.parity.handleTurn(this.now);
    return this.take();
  }

  take(): Uint8Array[] {
    const { out } = this;
    this.out = [];
    return out;
  }
}

class Receiver {
  readonly packets: Uint8Array[] = [];
  readonly arrivals = new Arrivals(new CountingPool(), (packet) => {
    this.packets.push(Uint8Array.from(packet));
    // quiche decrypts a packet where it is.
    packet.fill(0xdd);
  });
  readonly parity = new ParityReceiver(this.arrivals);
  now = 0;

  take(datagrams: readonly Uint8Array[]): this {
    for (const datagram of datagrams) {
      const input = new Uint8Array(datagram.length + 10).fill(0xdd);
      input.set(datagram, 5);
      if (isParity(datagram)) this.parity.handleParity(input, 5, datagram.length, this.now);
      else {
        const kept = this.parity.keep(input, 5, datagram.length);
        this.arrivals.handleShard(input, 5, datagram.length, this.now);
        this.parity.handleKept(kept, this.now);
      }
    }
    return this;
  }
}

const isParity = (datagram: Uint8Array): boolean => datagram[0] === 0x23;

/** A receiver that has seen parity, so that it keeps shards, and a sender to it. */
function linked(data: number, parity: number): { sender: Sender; receiver: Receiver } {
  const sender = new Sender(data, parity);
  const receiver = new Receiver().take(sender.send(50).pause());
  return { sender, receiver };
}

function choices(n: number, most: number): number[][] {
  const all: number[][] = [];
  for (let bits = 0; bits < 1 << n; bits++) {
    const chosen = Array.from({ length: n }, (_, i) => i).filter((i) => (bits >> i) & 1);
    if (chosen.length <= most) all.push(chosen);
  }
  return all;
}

test('any k of k + p: packets of one and of many shards, groups that end within a block', async (t) => {
  for (const lengths of [[50, 100, 1, 99, 100], [450], [350, 20, 250], [100, 230, 460, 70]]) {
    const out = linked(6, 2).sender;
    for (const length of lengths) out.send(length);
    const datagrams = out.pause();
    let wrong = 0;
    const groups = datagrams.filter(isParity).length / 2;
    for (const lost of choices(datagrams.length, groups === 1 ? 2 : 1)) {
      const { receiver } = linked(6, 2);
      const left = datagrams.filter((_, i) => !lost.includes(i));
      receiver.take(left);
      const all = receiver.packets.length === lengths.length + 1;
      if (!all || !receiver.packets.slice(1).every((packet, i) => Buffer.compare(packet, out.packets[i + 1]!) === 0)) wrong++;
    }
    t.equal(wrong, 0, lengths.join(', '));
    t.ok(
      datagrams.filter(isParity).every((one) => one.length <= SHARE + SHARD_HEADER),
      'no datagram is larger than a full shard',
    );
  }
});

test('one more than parity makes up for is not restored, until it comes', async (t) => {
  const { sender, receiver } = linked(6, 2);
  const datagrams = sender.send(600).take();
  receiver.take(datagrams.slice(3));
  t.equal(receiver.packets.length, 1);
  t.equal(receiver.parity.counts.restored, 0);
  receiver.take(datagrams.slice(1, 2));
  t.same(receiver.packets[1], sender.packets[1]);
  t.same(receiver.parity.counts, { restored: 2, bursts: 2 });
});

test('parity before its data, and datagrams in any order, some twice', async (t) => {
  const random = seededRandom(3);
  let wrong = 0;
  for (let round = 0; round < 300; round++) {
    const { sender, receiver } = linked(5, 2);
    for (let i = 0; i < 6; i++) sender.send(integerBetween(random, 1, 500));
    const datagrams = sender.pause();
    const lost = integerBetween(random, 0, datagrams.length - 1);
    const mixed = datagrams
      .flatMap((datagram, i) => (i === lost ? [] : random() < 0.2 ? [datagram, datagram] : [datagram]))
      .map((datagram) => ({ datagram, at: random() }));
    receiver.take(mixed.sort((a, b) => a.at - b.at).map(({ datagram }) => datagram));
    if (receiver.packets.length !== 7) wrong++;
    if (!receiver.packets.every((packet, i) => Buffer.compare(packet, sender.packets[i]!) === 0)) wrong++;
  }
  t.equal(wrong, 0);
});

test('numbers that wrap', async (t) => {
  const header = new Uint8Array(40);
  for (const first of [0, 2 ** 20 - 1, 2 ** 20, 2 ** 24 - 3, 2 ** 24, 2 ** 40 + 5]) {
    for (const [k, j] of [
      [1, 0],
      [128, 31],
      [77, 13],
    ] as const) {
      writeParityHeader(header, { first, k, j }, ID);
      for (const near of [first, first + 32_768, Math.max(0, first - 32_768)]) {
        t.same(readParityHeader(header, 0, header.length, near), { first, k, j });
      }
    }
  }
  t.equal(readParityHeader(header, 0, 24, 0), null, 'too short to have a payload');
  // The receiver has handed on nearly 2^24 shards: so many were given up, which takes no time.
  const receiver = new Receiver();
  const start = 2 ** 24 - 4;
  for (let at = 0; at < start; at += 32_768) receiver.arrivals.handleForward(Math.min(at + 32_768, start));
  const sender = new Sender(6, 1, start);
  const warm = sender.send(50).pause();
  const group = sender.send(350).send(100).send(60).take();
  receiver.take([...warm, ...group.slice(0, 2), ...group.slice(3)]);
  t.equal(receiver.packets.length, 4);
  t.ok(receiver.packets.every((packet, i) => Buffer.compare(packet, sender.packets[i]!) === 0));
});

test('a restored shard counts as come and does not tell how long the way takes', async (t) => {
  const { sender, receiver } = linked(4, 1);
  const datagrams = sender.send(400).take();
  receiver.now = 5;
  receiver.take(datagrams.slice(0, 3));
  receiver.now = 9;
  receiver.take(datagrams.slice(4));
  t.same(receiver.arrivals.account(), { cumulative: 5, ranges: [] });
  t.same(receiver.arrivals.latest, { shard: 3, at: 5 });
});

test('a forged parity shard costs the packet that it restores, and no other', async (t) => {
  const random = seededRandom(5);
  for (let round = 0; round < 200; round++) {
    const { sender, receiver } = linked(6, 1);
    for (const length of [100, 100, 100, 100, 100, 100]) sender.send(length);
    const datagrams = sender.take();
    const forged = datagrams.at(-1)!.map((byte, i) => (i < 21 ? byte : random() * 256));
    const lost = integerBetween(random, 0, 5);
    receiver.take([...datagrams.slice(0, lost), ...datagrams.slice(lost + 1, 6), forged, datagrams.at(-1)!, datagrams[lost]!]);
    receiver.arrivals.account();
    receiver.take(sender.send(80).pause());
    const came = sender.packets.filter((packet) => receiver.packets.some((other) => Buffer.compare(packet, other) === 0));
    if (came.length < sender.packets.length - 1) t.fail(`round ${round}: ${came.length} of ${sender.packets.length}`);
  }
  t.pass('whatever was forged');
});

test('bounded memory, whatever arrives; none before parity and long after it', async (t) => {
  const random = seededRandom(6);
  const receiver = new Receiver();
  const sender = new Sender(6, 1);
  receiver.take(
    sender
      .send(600)
      .take()
      .filter((datagram) => !isParity(datagram)),
  );
  t.equal(receiver.parity.memory, 0);
  for (let i = 0; i < 20_000; i++) {
    const datagram = new Uint8Array(integerBetween(random, 1, 1_472)).map(() => random() * 256);
    datagram.set([random() < 0.7 ? 0x23 : 0x20, ...ID].slice(0, datagram.length));
    // Near to what is expected, so that it is kept.
    if (random() < 0.5 && datagram.length > 25) datagram.set([0, integerBetween(random, 0, 255)], 17);
    receiver.take([datagram]);
    if (receiver.parity.memory > 256 * 1024) t.fail('more than 256 KiB');
  }
  t.ok(receiver.parity.memory > 128 * 1024, 'it was tried');
  const plain = new Sender(1, 1, receiver.arrivals.next);
  plain.policy.on = false;
  for (let i = 0; i < 5_000; i++) receiver.take(plain.send(20).take());
  t.equal(receiver.parity.memory, 0);
});

test('a group ends when it is full, but not before the end of a block; after a pause; or after a time', async (t) => {
  const sender = new Sender(4, 1);
  const kinds = (datagrams: readonly Uint8Array[]): string => datagrams.map((one) => (isParity(one) ? 'p' : 'd')).join('');
  t.equal(kinds(sender.send(50).send(50).send(50).send(50).send(50).take()), 'ddddpd');
  t.equal(kinds(sender.pause()), 'p');
  t.equal(kinds(sender.send(450).take()), 'dddddp', 'the last of five goes with the others');
  t.equal(kinds(sender.send(550).take()), 'ddddpdd');
  t.equal(kinds(sender.pause()), 'p');
  t.equal(sender.parity.deadline, Infinity);
  sender.policy.duration = 5;
  sender.policy.least = 2;
  sender.send(50);
  sender.now += 6;
  t.equal(kinds(sender.send(50).take()), 'dd', 'one alone is too few');
  sender.send(50);
  sender.now += 6;
  t.equal(kinds(sender.send(50).take()), 'ddp');
  t.equal(sender.parity.span, 6);
});

test('no parity: switched off in between, shards too large for it, another size of full shards', async (t) => {
  const { sender, receiver } = linked(4, 1);
  sender.policy.least = 2;
  sender.send(50);
  sender.policy.on = false;
  sender.send(50).send(50);
  sender.policy.on = true;
  sender.send(1_490, 1_490).send(3_000, 1_498).send(250, 100).send(390, 130);
  const datagrams = sender.pause();
  t.equal(datagrams.filter(isParity).length, 2, 'of 100 bytes and of 130');
  receiver.take(datagrams.filter((_, i) => i !== datagrams.length - 2));
  t.equal(receiver.packets.length, sender.packets.length);
  t.ok(receiver.packets.every((packet, i) => Buffer.compare(packet, sender.packets[i]!) === 0));
});
