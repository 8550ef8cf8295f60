import { Arrivals } from '../../../src/protocol/delivery/arrivals.ts';
import { BlockPool } from '../../../src/protocol/delivery/block-pool.ts';
import { Flight } from '../../../src/protocol/delivery/flight.ts';
import { PathModel } from '../../../src/protocol/delivery/path-model.ts';
import type { Report } from '../../../src/protocol/delivery/report.ts';
import { SHARD_HEADER, writeShardHeader } from '../../../src/protocol/shard.ts';
import { seededRandom } from '../../support/random.ts';

/** What the path between the two ends does. */
export interface PathConditions {
  /** Milliseconds there and back. */
  readonly rtt: number;
  /** Bytes a millisecond. */
  readonly rate: number;
  /** Bytes. */
  readonly queue: number;
  /** A share from 0 to 1, in bursts of `burst` datagrams on average. */
  readonly loss?: number;
  readonly burst?: number;
  readonly seed?: number;
}

/** A sender that always has more to send, over a path in simulated time. Timers fire at whole milliseconds, as Node's do. */
export class SimulatedPath {
  now = 0;
  readonly model: PathModel;
  readonly flight = new Flight(POOL);
  readonly arrivals: Arrivals;
  goodput = 0;
  /** When so many bytes of goodput had arrived. */
  readonly milestones = new Map<number, number>();
  dropped = 0;
  lost = 0;
  readonly trace: string[] = [];
  readonly #conditions: Required<PathConditions>;
  readonly #random: () => number;
  readonly #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  #inBurst = false;
  #busyUntil = 0;
  #tokens = 0;
  #tokensAt = 0;
  #reportDue = Infinity;
  #number = 0;
  #probes = 0;

  constructor(conditions: PathConditions) {
    this.#conditions = { loss: 0, burst: 1, seed: 1, ...conditions };
    this.#random = seededRandom(this.#conditions.seed);
    this.model = new PathModel(DATAGRAM, conditions.rtt, 0);
    this.arrivals = new Arrivals(POOL, (packet) => {
      this.goodput += packet.length;
    });
  }

  run(milliseconds: number): void {
    const until = this.now + milliseconds;
    while (this.now < until) {
      this.now++;
      for (;;) {
        const event = this.#pop(this.now);
        if (event === null) break;
        event.run();
      }
      if (this.now >= this.#reportDue) this.#report();
      this.#send();
    }
  }

  #send(): void {
    const { model, flight } = this;
    const rate = model.pacingRate;
    this.#tokens = Math.min(this.#tokens + rate * (this.now - this.#tokensAt), Math.max(rate * 3, 2 * 12 * DATAGRAM));
    this.#tokensAt = this.now;
    if (flight.bytes > 0 && this.now - flight.progressAt > model.silence * 2 ** this.#probes) {
      this.#probes = Math.min(this.#probes + 1, 5);
      flight.handleSilence(this.now);
    }
    while (flight.bytes < model.window && this.#tokens > 0) {
      const again = flight.takeLost(this.now);
      if (again !== null) {
        this.#carry(again.first, again.packet.count, again.index, again.packet.length, again.packet.share);
        continue;
      }
      const count = Math.max(1, Math.min(12, Math.floor(model.rate / PAYLOAD)));
      const first = flight.next;
      const length = count * PAYLOAD;
      flight.add({ bytes: POOL.take(length), length, count, share: PAYLOAD, missing: count }, DATAGRAM, DATAGRAM, this.now);
      for (let index = 0; index < count; index++) this.#carry(first, count, index, length, PAYLOAD);
    }
  }

  #carry(first: number, count: number, index: number, length: number, share: number): void {
    const size = Math.min(share, length - index * share) + SHARD_HEADER;
    this.#tokens -= size;
    const { rate, queue, rtt, loss, burst } = this.#conditions;
    if (loss > 0) {
      this.#inBurst = this.#inBurst ? this.#random() >= 1 / burst : this.#random() < loss / (burst * (1 - loss));
      if (this.#inBurst) return void this.lost++;
    }
    const start = Math.max(this.now, this.#busyUntil);
    if ((start - this.now) * rate + size > queue) return void this.dropped++;
    this.#busyUntil = start + size / rate;
    this.#at(this.#busyUntil + rtt / 2, () => {
      const datagram = new Uint8Array(size);
      writeShardHeader(datagram, { count, index, length, blockId: first % 2 ** 24 }, new Uint8Array(16));
      this.arrivals.handleShard(datagram, 0, size, this.now);
      this.#reportDue = Math.min(this.#reportDue, this.now + (this.arrivals.hasGap ? 1 : 4));
    });
  }

  #report(): void {
    this.#reportDue = Infinity;
    const { latest, bytes } = this.arrivals;
    const report: Report = {
      number: ++this.#number,
      clock: (latest.at * 1000) % 2 ** 32,
      delay: this.now - latest.at,
      latest: latest.shard,
      bytes,
      forward: 0,
      ...this.arrivals.account(),
    };
    this.#at(this.now + this.#conditions.rtt / 2, () => {
      const outcome = this.flight.handleReport(report, this.now, this.model.reordering);
      if (outcome === null) throw new Error('refused');
      if (outcome.delivered > 0) this.#probes = 0;
      this.model.handleReport(outcome, this.flight.delivered, this.flight.bytes, this.now);
    });
  }

  #at(at: number, run: () => void): void {
    const event = { at, order: this.#order++, run };
    let i = this.#events.length;
    while (i > 0 && this.#events[i - 1]!.at > at) i--;
    this.#events.splice(i, 0, event);
  }

  #pop(now: number): { run: () => void } | null {
    return this.#events.length > 0 && this.#events[0]!.at <= now ? this.#events.shift()! : null;
  }
}

const POOL = new BlockPool();
const DATAGRAM = 1350;
const PAYLOAD = DATAGRAM - SHARD_HEADER;
