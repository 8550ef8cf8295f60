/** What is seen of one server at one look. */
export interface ServerLook {
  /** Whether a link to it is up, and answers. */
  readonly isUp: boolean;
  /** Milliseconds; NaN while unknown. */
  readonly rtt: number;
}

/** What is worth a line in the log, and in the metrics for as long as it holds. */
export type ServerMark = 'NODE_UNSTABLE' | 'NODE_HIGH_LATENCY';

export interface MarkChange {
  readonly server: number;
  readonly mark: ServerMark;
  readonly holds: boolean;
}

/**
 * Which of several servers new connections take: the nearest, where near is the round-trip time and four times its variation (as a retransmission timer has it,
 * RFC 6298). One that dies is left at once. One that is nearer is moved to when it has been so by a fifth for a while, and one that has come back only when it has
 * stayed, each time for longer: so that nothing goes to and fro.
 */
export class ServerChoice {
  readonly #servers: Server[];
  #preferred = 0;

  constructor(count: number) {
    this.#servers = Array.from({ length: count }, () => new Server());
  }

  get preferred(): number {
    return this.#preferred;
  }

  /** All servers' numbers, the one to take first. */
  get order(): number[] {
    const others = [...this.#servers.keys()].filter((index) => index !== this.#preferred);
    return [this.#preferred, ...others.toSorted((a, b) => this.#servers[a]!.distance - this.#servers[b]!.distance)];
  }

  hasMark(server: number, mark: ServerMark): boolean {
    return this.#servers[server]!.marks.has(mark);
  }

  /** Takes in one look at each server; `now` is milliseconds of a steady clock. Returns the marks that have changed. */
  handleLook(looks: readonly ServerLook[], now: number): MarkChange[] {
    looks.forEach((look, index) => this.#servers[index]!.handleLook(look, now));
    this.#choose(now);
    return this.#servers.flatMap((server, index) => server.updateMarks(now).map((change) => ({ server: index, ...change })));
  }

  #choose(now: number): void {
    const present = this.#servers[this.#preferred]!;
    const nearest = this.#nearest(({ isUp }) => isUp);
    if (nearest === null) return;
    if (!present.isUp) return this.#prefer(this.#nearest((server) => server.isSettled(now)) ?? nearest);
    // Each by itself: which of several is the nearest may change with each look.
    for (const server of this.#servers)
      if (!server.isSettled(now) || !isClearlyNearer(server, present)) server.nearerSince = Infinity;
      else if (server.nearerSince === Infinity) server.nearerSince = now;
    const candidate = this.#nearest(({ nearerSince }) => now - nearerSince >= HOLD);
    if (candidate !== null) this.#prefer(candidate);
  }

  #prefer(server: Server): void {
    this.#preferred = this.#servers.indexOf(server);
    for (const each of this.#servers) each.nearerSince = Infinity;
  }

  #nearest(fits: (server: Server) => boolean): Server | null {
    const [first = null] = this.#servers.filter((server) => fits(server)).toSorted((a, b) => a.distance - b.distance);
    return first;
  }
}

class Server {
  isUp = false;
  readonly marks = new Set<ServerMark>();
  /** Since when it has been clearly nearer than the preferred one; Infinity while it is not. */
  nearerSince = Infinity;
  /** Milliseconds: smoothed, and its mean deviation. */
  #rtt = Number.NaN;
  #variation = 0;
  #upSince = 0;
  /** When it was lost, of late. */
  #losses: number[] = [];

  /** Milliseconds, of a kind; Infinity while unknown. */
  get distance(): number {
    if (Number.isNaN(this.#rtt)) return Infinity;
    return (this.#rtt + 4 * this.#variation) * (this.marks.has('NODE_UNSTABLE') ? 2 : 1);
  }

  /** Whether it is up, and has stayed so for as long as its losses ask for. */
  isSettled(now: number): boolean {
    const losses = this.#losses.length;
    const wait = losses === 0 ? 0 : Math.min(SETTLE * 2 ** (losses - 1), LONGEST_SETTLE);
    return this.isUp && now - this.#upSince >= wait;
  }

  handleLook({ isUp, rtt }: ServerLook, now: number): void {
    if (isUp && !this.isUp) this.#upSince = now;
    if (!isUp && this.isUp) this.#losses.push(now);
    this.isUp = isUp;
    this.#losses = this.#losses.filter((at) => now - at < MEMORY);
    if (!isUp || Number.isNaN(rtt)) return;
    if (Number.isNaN(this.#rtt)) this.#rtt = rtt;
    this.#variation += (Math.abs(rtt - this.#rtt) - this.#variation) / 4;
    this.#rtt += (rtt - this.#rtt) / 8;
  }

  updateMarks(now: number): { mark: ServerMark; holds: boolean }[] {
    const losses = this.#losses.filter((at) => now - at < MEMORY).length;
    const variation = this.#variation / Math.max(this.#rtt, LEAST_RTT);
    return [
      ...this.#mark('NODE_UNSTABLE', losses >= 3 || variation > 0.5, losses < 2 && variation < 0.25),
      ...this.#mark('NODE_HIGH_LATENCY', this.#rtt > HIGH_LATENCY, this.#rtt < 0.8 * HIGH_LATENCY),
    ];
  }

  #mark(mark: ServerMark, begins: boolean, ends: boolean): { mark: ServerMark; holds: boolean }[] {
    const held = this.marks.has(mark);
    if (!held && begins) this.marks.add(mark);
    if (held && ends) this.marks.delete(mark);
    const holds = this.marks.has(mark);
    return holds === held ? [] : [{ mark, holds }];
  }
}

/** By a fifth, and by more than what a timer's grain makes of it. */
function isClearlyNearer(one: Server, other: Server): boolean {
  return one !== other && one.distance < 0.8 * other.distance && other.distance - one.distance > 2;
}

/** Milliseconds for which another server has to be nearer. */
const HOLD = 5_000;
/** Milliseconds for which a server has to be back, after its first loss and at most. */
const SETTLE = 10_000;
const LONGEST_SETTLE = 300_000;
/** Milliseconds after which a loss is forgotten. */
const MEMORY = 300_000;
/** Milliseconds: below it, variation says nothing. */
const LEAST_RTT = 40;
/** Milliseconds: what people notice when they type. */
const HIGH_LATENCY = 250;
