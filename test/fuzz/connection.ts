import { QtunnelError } from '../../src/errors.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { connectOptions, makeWorld, OVER, PORT, quicOptions, REQUEST, World } from '../quic/pair.ts';
import type { MemorySocket } from '../support/memory-network.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { damage, mutate, oneOf } from './mutations.ts';

export interface ConnectionFuzz {
  readonly datagrams: number;
  /** Links that were made, or bytes that were carried meanwhile. */
  readonly links: number;
  readonly bytes: number;
}

/**
 * Mutants of what two ends of a link send each other come to both of them, from the right address and from others, during transfers both ways. All bytes come, unchanged, and the link stays.
 * @throws Error when that is not so.
 */
export async function fuzzTransfer(datagrams: number, seed: number): Promise<ConnectionFuzz> {
  const random = seededRandom(seed);
  const { world, client, server } = await makeWorld({ seed, conditions: { delay: 2 } });
  const forger = new Forger(world, random, datagrams, PER_DATAGRAM);
  let bytes = 0;
  while (!forger.isDone) {
    const up = randomBytes(random, integerBetween(random, 1, 100_000));
    const down = randomBytes(random, integerBetween(random, 1, 100_000));
    const here = new StreamRecorder(client.link.open(REQUEST));
    const { recorder: there } = await world.until(server.accept(), `a stream, seed ${seed}`);
    void here.write(up).then(() => here.stream.end());
    void there.write(down).then(() => there.stream.end());
    const isOver = (): boolean => (here.ended && there.ended) || here.resets.length + there.resets.length > 0;
    await world.drive(isOver, `a transfer among forged datagrams, seed ${seed}`);
    if (!there.bytes.equals(up) || !here.bytes.equals(down)) throw new Error(`seed ${seed}: other bytes came than were sent`);
    bytes += up.length + down.length;
  }
  if (client.closes.length + server.closes.length > 0)
    throw new Error(`seed ${seed}: the link was lost`, { cause: client.closes[0] });
  forger.stop();
  client.link.close(OVER);
  return { datagrams: forger.count, links: 1, bytes };
}

/**
 * The same during greetings, with and without a secret. An attempt may fail, with an error of the list; the next without forged datagrams comes up, and nothing is left at the server
 * in the end.
 */
export async function fuzzGreetings(datagrams: number, seed: number, key?: null): Promise<ConnectionFuzz> {
  const random = seededRandom(seed);
  const world = new World(seed, { delay: 1 }, key);
  const strangers = { ...quicOptions().strangers, attemptsPerSource: 1_000_000 };
  await world.listen(quicOptions({ key: world.key, strangers }));
  let links = 0;
  let count = 0;
  while (count < datagrams) {
    const forger = new Forger(world, random, PER_GREETING, 6);
    const outcome = await settled(world);
    forger.stop();
    count += forger.count;
    if (outcome instanceof LinkRecorder) {
      links++;
      outcome.link.close(OVER);
    } else if (!(outcome instanceof QtunnelError) || outcome.code === 'INTERNAL')
      throw new Error(`seed ${seed}: an attempt ended otherwise`, { cause: outcome });
    await world.clock.advance(1_000);
  }
  await world.clock.advance(11_000);
  const last = await settled(world);
  if (!(last instanceof LinkRecorder)) throw new Error(`seed ${seed}: no link came up afterwards`, { cause: last });
  last.link.close(OVER);
  void world.listener.close();
  await world.drive(() => world.network.server(PORT) === null, `the server to be through, seed ${seed}`);
  return { datagrams: count, links, bytes: 0 };
}

/** An attempt's link, or its error, in simulated time: quiche repeats nothing by itself. */
async function settled(world: World): Promise<unknown> {
  const attempt: { outcome: unknown } = { outcome: null };
  world.connect(connectOptions({ key: world.key })).then(
    (link) => (attempt.outcome = new LinkRecorder(link)),
    (error: unknown) => (attempt.outcome = error),
  );
  for (let ms = 0; attempt.outcome === null && ms < 12_000; ms += ms < 50 ? 1 : 500) await world.clock.advance(ms < 50 ? 1 : 500);
  return attempt.outcome;
}

/** Sees what is sent and sends mutants of it. */
class Forger {
  count = 0;
  readonly #world: World;
  readonly #random: () => number;
  readonly #most: number;
  /** How many for each datagram that is sent. */
  readonly #share: number;
  readonly #seen: { bytes: Uint8Array; from: number; up: boolean }[] = [];

  constructor(world: World, random: () => number, most: number, share: number) {
    this.#world = world;
    this.#random = random;
    this.#most = most;
    this.#share = share;
    world.network.onSend = (bytes, from) => this.#watch(bytes, from);
  }

  get isDone(): boolean {
    return this.count >= this.#most;
  }

  stop(): void {
    this.#world.network.onSend = () => {};
  }

  #watch(bytes: Uint8Array, from: MemorySocket): void {
    const random = this.#random;
    this.#remember({ bytes: Uint8Array.from(bytes), from: from.outerPort, up: from.isClient });
    for (let n = this.#share; n > 0 && !this.isDone; n--) if (n >= 1 || random() < n) this.#forge();
  }

  #forge(): void {
    const random = this.#random;
    const { bytes, from, up } = oneOf(random, this.#seen);
    const isUp = random() < 0.05 ? !up : up;
    const receiver = isUp ? this.#world.network.server(PORT) : this.#world.network.clients.at(-1);
    const mutant = random() < 0.3 ? mutate(random, bytes, 9_000) : damage(random, bytes, random() < 0.7 ? 60 : bytes.length);
    if (receiver === null || receiver === undefined || mutant.length === 0) return;
    this.count++;
    const port = random() < 0.9 ? from : integerBetween(random, 1, 65_535);
    this.#world.clock.deliverAfter(random() * 4, () => receiver.deliver(mutant, { host: '127.0.0.1', port }));
  }

  #remember(datagram: { bytes: Uint8Array; from: number; up: boolean }): void {
    if (this.#seen.length < KEPT) this.#seen.push(datagram);
    else this.#seen[integerBetween(this.#random, 0, KEPT - 1)] = datagram;
  }
}

const KEPT = 32;
/** With many more, so many packets are spoiled that quiche waits longer and longer before it sends again, as somebody in between can always bring about. */
const PER_DATAGRAM = 0.02;
const PER_GREETING = 80;
