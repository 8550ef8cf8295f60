import { QtunnelError } from '../../src/errors.ts';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { Bundle, unbundle } from '../../src/protocol/bundle.ts';
import { ByteReader } from '../../src/protocol/bytes.ts';
import { destinationId } from '../../src/protocol/connection-id.ts';
import { Arrivals, MAX_AHEAD } from '../../src/protocol/delivery/arrivals.ts';
import { ParityReceiver } from '../../src/protocol/delivery/parity-receiver.ts';
import { PARITY_HEADER, writeInner, writeParityHeader } from '../../src/protocol/delivery/parity-shard.ts';
import { PROBE, readProbe, writeProbe } from '../../src/protocol/delivery/probe.ts';
import { MAX_REPORT, ReportReader, ReportWriter } from '../../src/protocol/delivery/report.ts';
import { InitialProof } from '../../src/protocol/initial-proof.ts';
import { readLongHeaders } from '../../src/protocol/long-header.ts';
import { encodeEndpoints, proxyHeader, readEndpoints } from '../../src/protocol/proxy-protocol.ts';
import { RetryTokens } from '../../src/protocol/retry-token.ts';
import { CountingPool, ID, packetOf, shardsOf } from '../protocol/shards.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { damage, mutate, oneOf } from './mutations.ts';

/** What came of it: how many inputs each parser took and refused. */
export type Verdicts = Record<string, { taken: number; refused: number }>;

/**
 * Gives `rounds` inputs, half of them mutants of valid ones and half valid in their form with wrong numbers, to the parsers of what comes in datagrams. @throws Error with the input in
 * hexadecimal when one does anything but take or refuse it.
 */
export function fuzzDatagramParsers(rounds: number, seed: number): Verdicts {
  const random = seededRandom(seed);
  const verdicts: Verdicts = {};
  const parsers = makeParsers();
  for (const { name } of parsers) verdicts[name] = { taken: 0, refused: 0 };
  for (let round = 0; round < rounds; round++) {
    const parser = parsers[round % parsers.length]!;
    const valid = oneOf(random, parser.valid);
    const input = random() < 0.5 ? mutate(random, valid) : damage(random, valid, parser.header);
    // Datagrams lie in the midst of a buffer; what is around them must not be read.
    const offset = integerBetween(random, 0, 40);
    const buffer = new Uint8Array(offset + input.length + integerBetween(random, 0, 40)).fill(0xee);
    buffer.set(input, offset);
    const verdict = verdicts[parser.name]!;
    try {
      if (parser.parse(buffer, offset, input.length)) verdict.taken++;
      else verdict.refused++;
    } catch (error) {
      if (error instanceof QtunnelError && error.code === 'PROTOCOL_VIOLATION' && parser.throws === true) verdict.refused++;
      else throw new Error(`${parser.name}, seed ${seed}, round ${round}: ${Buffer.from(input).toString('hex')}`, { cause: error });
    }
  }
  return verdicts;
}

interface Parser {
  readonly name: string;
  readonly valid: readonly Uint8Array[];
  /** Bytes from the beginning that say what the rest is. */
  readonly header: number;
  /** Whether PROTOCOL_VIOLATION is how it refuses. */
  readonly throws?: boolean;
  /** Whether it took the input. */
  parse(bytes: Uint8Array, offset: number, length: number): boolean;
}

function makeParsers(): Parser[] {
  const tokens = new RetryTokens(hmacSha256, KEY);
  const proof = new InitialProof(hmacSha256, KEY);
  return [
    {
      name: 'long headers',
      valid: LONG_HEADERS,
      header: 60,
      parse(bytes, offset, length) {
        const header = length > 0 ? readLongHeaders(bytes, offset, length) : null;
        for (const view of [header?.destination, header?.source, header?.token]) within(view ?? null, bytes, offset, length);
        return header !== null;
      },
    },
    {
      name: 'destination ids',
      valid: LONG_HEADERS,
      header: 24,
      parse: (bytes, offset, length) => within(destinationId(bytes, offset, length), bytes, offset, length),
    },
    {
      name: 'source ids',
      valid: [proof.make(Uint8Array.of(1, 2, 3, 4), 1_700_000_000)],
      header: 16,
      parse: (bytes, offset, length) => proof.read(bytes.subarray(offset, offset + length)) !== null,
    },
    {
      name: 'Retry tokens',
      valid: [tokens.make('10.0.0.1:5', ID, ID, 5_000)],
      header: 40,
      parse: (bytes, offset, length) => tokens.read(bytes.subarray(offset, offset + length), '10.0.0.1:5', ID, 6_000) !== null,
    },
    {
      name: 'endpoints',
      valid: [
        encodeEndpoints({ host: '10.0.0.1', port: 5 }, { host: '10.0.0.2', port: 80 }),
        encodeEndpoints({ host: '2001:db8::1', port: 5 }, { host: '2001:db8::2', port: 80 }),
      ],
      header: 1,
      throws: true,
      parse(bytes, offset, length) {
        const endpoints = readEndpoints(new ByteReader(bytes.subarray(offset, offset + length)));
        const { length: header } = proxyHeader(endpoints);
        if (![16, 28, 52].includes(header)) throw new Error(`a header of ${header} bytes`);
        return endpoints !== null;
      },
    },
    {
      name: 'probes',
      valid: [written((into) => writeProbe({ isAnswer: true, size: 1_472, number: 7 }, ID, hmacSha256, KEY, into), PROBE)],
      header: PROBE - 16,
      parse: signed((bytes, offset, length) => readProbe(bytes, offset, length, hmacSha256, KEY) !== null),
    },
    {
      name: 'reports',
      valid: [0, 1, 40, 600].map(report),
      header: 60,
      parse: signed((bytes, offset, length) => new ReportReader(hmacSha256, KEY).read(bytes, offset, length, 2 ** 25, 3) !== null),
    },
    { name: 'bundles', valid: BUNDLES, header: 6, parse: parseBundle },
    new BlockParser(),
  ];
}

/** Whether there is a view at all; it must be of the datagram. */
function within(view: Uint8Array | null, bytes: Uint8Array, offset: number, length: number): boolean {
  if (view === null) return false;
  const at = view.byteOffset - bytes.byteOffset;
  if (at < offset || at + view.length > offset + length) throw new Error('a view of what lies beyond the datagram');
  return true;
}

/** Puts the right tag on half of what it is given: a peer can lie, and has the key. */
function signed(parse: Parser['parse']): Parser['parse'] {
  let round = 0;
  return (bytes, offset, length) => {
    const front = length - 16;
    if (round++ % 2 === 0 && front > 0)
      bytes.set(hmacSha256(KEY, bytes.subarray(offset, offset + front)).subarray(0, 16), offset + front);
    return parse(bytes, offset, length);
  };
}

function parseBundle(bytes: Uint8Array, offset: number, length: number): boolean {
  if (length === 0) return false;
  const block = bytes.subarray(offset, offset + length);
  let packets = 0;
  unbundle(block, (packet) => {
    if (packet.length === 0 || packet.byteOffset + packet.length > block.byteOffset + block.length)
      throw new Error('a packet beyond the block');
    packets++;
  });
  if (packets > 64) throw new Error(`${packets} packets in a block`);
  return packets > 0;
}

/** Shards and parity in any order into one receiver, which must hand on packets in order and keep within its memory. */
class BlockParser implements Parser {
  readonly name = 'shards and parity';
  readonly header = 24;
  readonly #pool = new CountingPool();
  #given = 0;
  #arrivals = new Arrivals(this.#pool, (packet) => this.#handle(packet));
  #parity = new ParityReceiver(this.#arrivals);
  #rounds = 0;

  get valid(): Uint8Array[] {
    const { next } = this.#arrivals;
    const packet = packetOf(next, 1 + ((next * 37) % 16_000));
    const shards = shardsOf(packet, 1_326, next + (this.#rounds % 3) * 5);
    return [shards[this.#rounds % shards.length]!, shards[0]!, parityShard(next, 1 + (this.#rounds % 8), this.#rounds % 3)];
  }

  parse(bytes: Uint8Array, offset: number, length: number): boolean {
    if (++this.#rounds % 10_000 === 0) this.#restart();
    if (length === 0) return false;
    const before = this.#given;
    const { refused } = this.#arrivals.counts;
    if (bytes[offset] === 0x23) this.#parity.handleParity(bytes, offset, length, this.#rounds);
    else {
      const kept = this.#parity.keep(bytes, offset, length);
      this.#arrivals.handleShard(bytes, offset, length, this.#rounds);
      this.#parity.handleKept(kept, this.#rounds);
    }
    if (this.#rounds % 50 === 0) this.#checkAccount();
    if (this.#rounds % 500 === 0) this.#arrivals.handleForward(this.#arrivals.next + (this.#rounds % 40));
    if (this.#pool.usedBytes > MOST_HELD) throw new Error(`${this.#pool.usedBytes} bytes held`);
    if (this.#parity.memory > 255 * 1024) throw new Error(`${this.#parity.memory} bytes kept for parity`);
    return this.#given > before || this.#arrivals.counts.refused === refused;
  }

  #handle(packet: Uint8Array): void {
    if (packet.length === 0 || packet.length > 16_384) throw new Error(`a packet of ${packet.length} bytes`);
    this.#given++;
    // quiche decrypts a packet where it is.
    packet.fill(0xdd);
  }

  #checkAccount(): void {
    const { next } = this.#arrivals;
    const { cumulative, ranges } = this.#arrivals.account();
    if (cumulative < next || ranges.length > 600) throw new Error(`cumulative ${cumulative} of ${next}, ${ranges.length} ranges`);
    const end = ranges.reduce((sum, length) => sum + length, cumulative);
    if (ranges.some((length) => length < 1 || length > MAX_AHEAD) || end > this.#arrivals.next + MAX_AHEAD)
      throw new Error(`ranges ${ranges.join(' ')}`);
  }

  #restart(): void {
    this.#arrivals.close();
    this.#parity.close();
    if (this.#pool.used > 0) throw new Error(`${this.#pool.used} buffers were not given back`);
    this.#arrivals = new Arrivals(this.#pool, (packet) => this.#handle(packet));
    this.#parity = new ParityReceiver(this.#arrivals);
  }
}

function parityShard(first: number, k: number, j: number): Uint8Array {
  const datagram = new Uint8Array(PARITY_HEADER + 3 + 1_326);
  writeParityHeader(datagram, { first, k, j }, ID);
  writeInner(datagram.subarray(PARITY_HEADER), 1, 0, 1_326, packetOf(first, 1_326));
  return datagram;
}

function report(ranges: number): Uint8Array {
  const writer = new ReportWriter(hmacSha256, KEY, ID);
  const numbers = { number: 9, clock: 1, delay: 2, latest: 5, bytes: 6, forward: 7, cumulative: 4, restored: 1, bursts: 1 };
  return written(
    (into) => writer.write({ ...numbers, ranges: Array.from({ length: ranges }, (_, i) => 1 + (i % 5)) }, into),
    MAX_REPORT,
  );
}

function written(write: (into: Uint8Array) => number, size: number): Uint8Array {
  const into = new Uint8Array(size);
  return into.slice(0, write(into));
}

function longHeader(type: number, destination: Uint8Array, source: Uint8Array, token: Uint8Array | null, rest: number): Uint8Array {
  const front = [0xc0 | (type << 4), 0, 0, 0, 1, destination.length, ...destination, source.length, ...source];
  const length = [0x40 | (rest >>> 8), rest & 0xff];
  return Uint8Array.from([
    ...front,
    ...(token === null ? [] : [token.length, ...token]),
    ...length,
    ...Array<number>(rest).fill(7),
  ]);
}

function bundle(...sizes: number[]): Uint8Array {
  const packed = new Bundle();
  for (const size of sizes) packed.add(packetOf(size, size), 16_384);
  return Uint8Array.from(packed.take());
}

const KEY = new Uint8Array(32).fill(3);
const NO_TOKEN = new Uint8Array(0);
const initial = longHeader(0, ID, ID, NO_TOKEN, 500);
const LONG_HEADERS = [
  initial,
  Buffer.concat([initial, new Uint8Array(600)]),
  Buffer.concat([initial, longHeader(2, ID, ID, null, 60), longHeader(1, ID, ID, null, 300), Uint8Array.of(0x40, ...ID, 1, 2, 3)]),
  longHeader(0, ID.subarray(0, 8), new Uint8Array(20), randomBytes(seededRandom(1), 36), 40),
];
const BUNDLES = [bundle(20, 30, 40), bundle(1), bundle(...Array<number>(64).fill(5)), packetOf(3, 1_300)];
/** Bytes: what Arrivals holds at most, and a buffer of the pool is larger than what is in it. */
const MOST_HELD = 48 * 1024 * 1024 * 2;
