import { hmacSha256 } from '../../src/identity/secret.ts';
import { PARITY_TYPE, SHARD_TYPE } from '../../src/protocol/connection-id.ts';
import { SHARD_HEADER, SHARD_INDEX_AT } from '../../src/protocol/shard.ts';
import { ShardSeal } from '../../src/quic/packetization/shard-seal.ts';
import { type Side, SimulatedPair } from '../quic/packetization/simulated-pair.ts';
import { integerBetween, seededRandom } from '../support/random.ts';
import { damage, mutate, oneOf } from './mutations.ts';

export interface BlockFuzz {
  readonly datagrams: number;
  /** Packets that came, and of these that had been changed by what was made up. */
  readonly packets: number;
  readonly spoiled: number;
}

/**
 * Two block layers that send each other packets over a path that loses some, while each also gets mutants of what the other sends: shards, parity, reports, probes; every second
 * shard or parity of them with the right tag, so that something is put together of it. At the end, when nobody makes anything up any more, what is sent has to come again. With `lying` it is the peer itself who makes reports and probes up, with the right key: then
 * nothing has to come, but nothing may break.
 * @throws Error with the seed, and the datagram in hexadecimal where one is to blame.
 */
export function fuzzBlocks(datagrams: number, seed: number, { lying = false } = {}): BlockFuzz {
  const sum = { datagrams: 0, packets: 0, spoiled: 0 };
  for (let n = 0; sum.datagrams < datagrams; n++) {
    const one = fuzzPair(Math.min(PER_PAIR, datagrams - sum.datagrams), seed + n, lying);
    sum.datagrams += one.datagrams;
    sum.packets += one.packets;
    sum.spoiled += one.spoiled;
  }
  return sum;
}

function fuzzPair(datagrams: number, seed: number, lying: boolean): BlockFuzz {
  const random = seededRandom(seed);
  const pair = new SimulatedPair(
    { delay: 5, rate: 20_000, queue: 500_000, loss: 0.01, reorder: 0.01 },
    seed,
    oneOf(random, ['off', 'auto', { data: 10, parity: 3 }] as const),
  );
  const attacks = [
    new Attack(pair.here, pair.there, random, KEYS[1], lying),
    new Attack(pair.there, pair.here, random, KEYS[0], lying),
  ];
  const most = oneOf(random, [2, 10, 40]);
  let given = 0;
  while (given < datagrams) {
    for (const side of [pair.here, pair.there]) if (side.backlog < 100_000) side.send(200_000);
    pair.run(1);
    for (let n = integerBetween(random, 0, most); n > 0 && given < datagrams; n--, given++) {
      const attack = oneOf(random, attacks);
      const datagram = attack.next();
      try {
        attack.victim.arrive(Uint8Array.from(datagram));
      } catch (error) {
        throw new Error(`seed ${seed}, ${lying ? 'lying' : 'forged'}: ${Buffer.from(datagram).toString('hex')}`, { cause: error });
      }
    }
  }
  if (!lying) recovers(pair, seed);
  pair.close();
  const sides = [pair.here, pair.there];
  return {
    datagrams,
    packets: sides.reduce((total, { received }) => total + received, 0),
    spoiled: sides.reduce((total, { spoiled, misplaced }) => total + spoiled + misplaced, 0),
  };
}

/** All that is under way comes or is given up, and then what is sent comes, but for what shards spoil that were made up for numbers that were still to come. */
function recovers(pair: SimulatedPair, seed: number): void {
  const { here, there } = pair;
  pair.set({ loss: 0, reorder: 0 });
  const settle = (): boolean => here.backlog === 0 && there.backlog === 0;
  if (pair.runTo(settle, PATIENCE) === Infinity)
    throw new Error(`seed ${seed}: stands still with ${here.backlog} and ${there.backlog} bytes to send`);
  pair.run(2_000);
  for (const [from, to] of [
    [here, there],
    [there, here],
  ] as const) {
    const before = { packets: to.received, sent: from.sent };
    from.send(1_000_000);
    const done = (): boolean => from.backlog === 0 && to.received - before.packets >= 0.9 * (from.sent - before.sent);
    if (pair.runTo(done, PATIENCE) === Infinity)
      throw new Error(`seed ${seed}: of ${from.sent - before.sent} packets ${to.received - before.packets} came afterwards`);
  }
}

/** Makes up what one side gets, from what the other has sent it. */
class Attack {
  readonly victim: Side;
  readonly #seen: Uint8Array[] = [];
  readonly #random: () => number;
  /** What the peer signs reports and probes with. */
  readonly #key: Uint8Array;
  /** Whether it is the peer itself, who signs them all. */
  readonly #lying: boolean;
  readonly #seal: ShardSeal;
  #count = 0;

  constructor(victim: Side, peer: Side, random: () => number, key: Uint8Array, lying: boolean) {
    this.victim = victim;
    this.#random = random;
    this.#key = key;
    this.#lying = lying;
    this.#seal = new ShardSeal(key, hmacSha256);
    peer.onDatagram = (datagram) => this.#watch(datagram);
  }

  next(): Uint8Array {
    const random = this.#random;
    if (this.#seen.length === 0) return Uint8Array.of(SHARD_TYPE);
    const seen = oneOf(random, this.#seen);
    const kind = random();
    if (kind < 0.1) return seen;
    const mutant = kind < 0.4 ? mutate(random, seen, 1_500) : damage(random, seen, kind < 0.9 ? headerOf(seen) : seen.length);
    if (mutant.length === 0) return Uint8Array.of(SHARD_TYPE);
    // Most are to get beyond the first byte.
    if (random() < 0.9) mutant[0] = random() < 0.9 ? seen[0]! : 0x20 + integerBetween(random, 0, 4);
    if (mutant[0] === SHARD_TYPE || mutant[0] === PARITY_TYPE) this.#tag(mutant);
    else if (this.#lying && (mutant[0] === 0x21 || mutant[0] === 0x22)) this.#sign(mutant, this.#key);
    return mutant;
  }

  #tag(datagram: Uint8Array): void {
    if (datagram.length <= SHARD_HEADER || this.#random() < 0.5) return;
    if (datagram[0] === PARITY_TYPE) return this.#seal.signParity(datagram);
    const first = (datagram[21]! << 16) | (datagram[22]! << 8) | datagram[23]!;
    this.#seal.signShard(datagram, datagram.length, first + datagram[SHARD_INDEX_AT]!);
  }

  /** Reports and parity are few among shards, and as interesting. */
  #watch(datagram: Uint8Array): void {
    const isRare = datagram[0] !== SHARD_TYPE;
    if (!isRare && this.#count++ % 8 !== 0) return;
    if (this.#seen.length < KEPT) this.#seen.push(Uint8Array.from(datagram));
    else this.#seen[integerBetween(this.#random, 0, KEPT - 1)] = Uint8Array.from(datagram);
  }

  #sign(datagram: Uint8Array, key: Uint8Array): void {
    const isProbe = datagram[0] === 0x22;
    const at = isProbe ? PROBE_TAG_AT : datagram.length - TAG;
    if (at < 24 || at + TAG > datagram.length) return;
    // A report has to be newer than the last.
    if (!isProbe)
      datagram.set([0, 0, 1 + (this.#count >>> 16), this.#count >>> 8, this.#count, integerBetween(this.#random, 0, 255)], 17);
    this.#count++;
    datagram.set(hmacSha256(key, datagram.subarray(0, at)).subarray(0, TAG), at);
  }
}

function headerOf(datagram: Uint8Array): number {
  return datagram[0] === 0x21 ? 80 : 28;
}

/** As SimulatedPair has them, for what goes to the one side, and to the other. */
const KEYS = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)] as const;
const TAG = 16;
const PROBE_TAG_AT = 24;
const KEPT = 64;
const PER_PAIR = 5_000;
/** Milliseconds of simulated time. */
const PATIENCE = 20_000;
