import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { QtunnelError } from '../errors.ts';
import type { Link, LinkStream } from '../link/link.ts';
import { setPatientTimer } from '../link/patient-timer.ts';
import { VERSION as SOFTWARE } from '../version.ts';
import { JsonLines } from './json-lines.ts';
import type { Mapping } from './mapping.ts';
import type { AgentState } from './publisher.ts';
import { agentMessage, type Register, type Registered } from './registration.ts';

export type Problem = Registered['problems'][number];

export interface AgentsHandler {
  /** Why a client (its name, or empty) may not have an agent of this name; null when it may. */
  refusal(client: string, name: string): string | null;
  /** The agent is the one of its name now: gives it the ports that it asks for. Must not reject. */
  onActive(agent: Agent): Promise<readonly Problem[]>;
  /** The agent of this name goes, and wants its ports no more. */
  onLeave(name: string): void;
}

/** An agent as one of its links shows it. */
export interface Agent {
  readonly link: Link;
  readonly registered: Register;
  readonly since: Date;
  /** Connections that it carries. */
  connections: number;
}

/**
 * The agents that are here, one for each name. Who comes with a name that another has:
 *
 *     the same process, over another link ──▶ takes over; what the link before carries goes on there
 *     a process that has just begun ────────▶ takes over; the other one waits
 *     a process that has lost its link ─────▶ waits, unless the other one's link is down or stalled
 *
 * So a restarted agent has its ports at once, and two of one name do not take them from each other again and again. Who waits takes over when the other goes.
 */
export class Agents {
  readonly #log: Logger;
  readonly #handler: AgentsHandler;
  readonly #members = new Map<Link, Member>();
  readonly #active = new Map<string, Member>();
  /** Longest waiting first. */
  readonly #waiting = new Map<string, Set<Member>>();
  /** Milliseconds of a steady clock: when what the agents of a link have said so far would have been said at `PACE`. */
  readonly #said = new WeakMap<Link, number>();
  readonly #ending = new Set<JsonLines>();

  constructor(log: Logger, handler: AgentsHandler) {
    this.#log = log;
    this.#handler = handler;
  }

  /** The agent of this name that can carry a connection now; null when it is away. */
  find(name: string): Agent | null {
    const member = this.#active.get(name);
    return member !== undefined && isHere(member) ? member : null;
  }

  /** Of all agents that are here and offer the target, but for those of these names, the one that carries the least. */
  offering(target: Mapping['target'], besides: ReadonlySet<string> = NOBODY): Agent | null {
    const offering = this.list().filter(({ registered: { name, allow } }) => !besides.has(name) && allow.mayHave(target));
    return offering.toSorted((a, b) => a.connections - b.connections)[0] ?? null;
  }

  /** Those that can carry a connection now. */
  list(): Agent[] {
    return [...this.#active.values()].filter(isHere);
  }

  states(): AgentState[] {
    return this.list()
      .map(stateOf)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** A client's control stream. */
  accept(link: Link, stream: LinkStream): void {
    if (this.#members.has(link)) return stream.reset('PROTOCOL', 'this link has a control stream already');
    const member = new Member(link, stream, {
      onMessage: (message) => this.#handleMessage(member, message),
      onEnd: () => this.#remove(member),
    });
    this.#members.set(link, member);
    member.lines.onReadable();
  }

  /** The link stalls, or is heard again. */
  handleStateChange(link: Link): void {
    const member = this.#members.get(link);
    if (member === undefined) return;
    if (member.register !== null) void this.#promote(member.register.name);
    endIfDead(member);
  }

  handleClosed(link: Link): void {
    const member = this.#members.get(link);
    if (member !== undefined) this.#remove(member);
  }

  /** The rights of clients have changed: agents whose names are not theirs any more are put out, the others are given their ports anew. */
  review(): void {
    for (const member of [...this.#members.values()]) {
      if (member.register === null) continue;
      const { name } = member.register;
      const refusal = this.#handler.refusal(member.link.client ?? '', name);
      if (refusal !== null) {
        this.#leaveName(member, name);
        this.#refuse(member, refusal);
      } else if (this.#active.get(name) === member) void this.#activate(member, name);
    }
  }

  /** Has no more to say to anybody. */
  end(): void {
    for (const member of this.#members.values()) {
      member.lines.end();
      this.#ending.add(member.lines);
    }
  }

  /** Does not wait for what agents still have to say: one that is dead would never say it, and its link would never be without streams. */
  cut(): void {
    for (const lines of this.#ending) lines.cut('SHUTDOWN', 'the hub is being stopped');
    this.#ending.clear();
  }

  async #handleMessage(member: Member, message: unknown): Promise<void> {
    if (!(await this.#isHeard(member))) return;
    const parsed = agentMessage.safeParse(message);
    if (!parsed.success) return this.#refuse(member, whatIsWrong(parsed.error));
    if (parsed.data.type === 'leave') return this.#leave(member);
    const { client = '' } = member.link;
    const { name } = parsed.data;
    const refusal = this.#handler.refusal(client, name);
    if (refusal !== null) return this.#refuse(member, refusal);
    if (member.register !== null && member.register.name !== name) this.#leaveName(member, member.register.name);
    member.register = parsed.data;
    await this.#place(member, parsed.data);
  }

  /** A registration may open and close a thousand ports: an agent that has more to say has to wait. False when it is gone by then. */
  async #isHeard(member: Member): Promise<boolean> {
    const { link } = member;
    const now = performance.now();
    const said = Math.max(this.#said.get(link) ?? 0, now) + PACE;
    this.#said.set(link, said);
    const early = said - now - BURST * PACE;
    if (early > 0) await sleep(early, undefined, { ref: false });
    return this.#members.get(link) === member;
  }

  async #place(member: Member, { name, instance, fresh }: Register): Promise<void> {
    const holder = this.#active.get(name);
    const isMine = holder === undefined || holder === member || holder.register?.instance === instance;
    if (isMine || fresh || !isHere(holder)) return await this.#activate(member, name);
    this.#queue(name, member);
    this.#tellWaiting(member, holder);
  }

  async #activate(member: Member, name: string): Promise<void> {
    const before = this.#active.get(name);
    this.#dequeue(name, member);
    this.#active.set(name, member);
    if (before !== member) this.#say('agent_here', member, `agent ${name} (${member.link.peer}) is here`);
    if (before !== undefined && before.register?.instance !== member.register?.instance) {
      before.hasSuccessor = member.register?.fresh === true;
      endIfDead(before);
      this.#queue(name, before);
      this.#tellWaiting(before, member);
      if (before.hasSuccessor) endUnlessHeard(before);
    }
    const problems = await this.#handler.onActive(member);
    if (this.#active.get(name) !== member) return;
    member.lines.send({ type: 'registered', state: 'active', holder: '', software: SOFTWARE, problems });
  }

  /** Whoever waits longest takes the place of one that is gone. */
  async #promote(name: string): Promise<void> {
    const holder = this.#active.get(name);
    if (holder !== undefined && isHere(holder)) return;
    const next = [...(this.#waiting.get(name) ?? [])].find(isHere);
    if (next !== undefined) await this.#activate(next, name);
  }

  #leave(member: Member): void {
    if (member.register !== null) this.#leaveName(member, member.register.name);
    this.#remove(member);
    member.lines.end();
  }

  #leaveName(member: Member, name: string): void {
    if (this.#active.get(name) === member) this.#handler.onLeave(name);
    this.#giveUp(member, name);
  }

  #remove(member: Member): void {
    if (this.#members.get(member.link) === member) this.#members.delete(member.link);
    if (member.register !== null) this.#giveUp(member, member.register.name);
  }

  #giveUp(member: Member, name: string): void {
    this.#dequeue(name, member);
    if (this.#active.get(name) !== member) return;
    this.#active.delete(name);
    this.#say('agent_away', member, `agent ${name} (${member.link.peer}) is away`);
    void this.#promote(name);
  }

  #refuse(member: Member, message: string): void {
    this.#say('agent_refused', member, `agent at ${member.link.peer} refused: ${message}`);
    member.lines.send({ type: 'refused', code: 'AGENT_REFUSED', message });
    this.#remove(member);
    member.lines.end();
  }

  #tellWaiting(member: Member, holder: Member): void {
    this.#say(
      'agent_waits',
      member,
      `agent ${member.register?.name} (${member.link.peer}) waits: ${holder.link.peer} has its name`,
    );
    member.lines.send({ type: 'registered', state: 'waiting', holder: holder.link.peer, software: SOFTWARE, problems: [] });
  }

  #queue(name: string, member: Member): void {
    const queue = this.#waiting.get(name) ?? new Set();
    this.#waiting.set(name, queue.add(member));
  }

  #dequeue(name: string, member: Member): void {
    const queue = this.#waiting.get(name);
    queue?.delete(member);
    if (queue?.size === 0) this.#waiting.delete(name);
  }

  #say(event: string, { link, register }: Member, message: string): void {
    this.#log.info({ event, agent: register?.name, link: link.id, transport: link.transport, peer: link.peer }, message);
  }
}

class Member {
  readonly link: Link;
  readonly lines: JsonLines;
  readonly since = new Date();
  register: Register | null = null;
  connections = 0;
  /** Whether the agent seems to have been started again since. */
  hasSuccessor = false;

  constructor(link: Link, stream: LinkStream, handler: ConstructorParameters<typeof JsonLines>[1]) {
    this.link = link;
    this.lines = new JsonLines(stream, handler);
  }

  /** What it said of itself last. */
  get registered(): Register {
    if (this.register === null) throw new QtunnelError('INTERNAL', 'An agent was asked what it has not said.');
    return this.register;
  }
}

/** What is open on the link of a process that was killed would otherwise wait for `-idle-timeout`. */
function endIfDead({ link, hasSuccessor }: Member): void {
  if (hasSuccessor && link.state === 'stalled') link.close(notHeard());
}

/** An agent that lives acknowledges that it waits; who has been let in through the link of one that was killed is told soon, and can try again. */
function endUnlessHeard({ link }: Member): void {
  const before = link.stats();
  const patience = Math.max(PATIENCE, 3 * (before.rtt || 0));
  setPatientTimer(() => {
    if (link.state !== 'closed' && link.stats().bytesReceived === before.bytesReceived) link.close(notHeard());
  }, patience);
}

function notHeard(): QtunnelError {
  return new QtunnelError('LINK_LOST', 'The agent was started again, and its process before is not heard any more.');
}

/** A link that is not heard may come back, but nobody should wait for that at a public port. */
function isHere({ link }: { readonly link: Link }): boolean {
  return link.state === 'up';
}

function stateOf({ link, registered, since, connections }: Agent): AgentState {
  const { rtt, packetsSent, packetsLost } = link.stats();
  const { name, allow, software } = registered;
  const { transport, peer, id } = link;
  return {
    name,
    transport,
    peer,
    link: id,
    rtt,
    loss: shareLost(packetsSent, packetsLost),
    since,
    allow: allow.texts,
    software,
    connections,
  };
}

/** Which share of packets was lost, 0 to 1; NaN while they are so few that one more or less would make another picture. */
export function shareLost(sent: number, lost: number): number {
  return sent >= TELLING_PACKETS ? lost / sent : Number.NaN;
}

function whatIsWrong(error: z.ZodError): string {
  const [issue] = error.issues;
  return `The agent's registration is not understood: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}.`.slice(
    0,
    300,
  );
}

/** One packet is a tenth of a per cent of so many, which is what tables show. */
const TELLING_PACKETS = 1_000;
/** Milliseconds that one registration is worth, and how many may come at once. */
const PACE = 1_000;
const BURST = 20;
/** Milliseconds, or three round trips: as for links to one of several servers. */
const PATIENCE = 600;
const NOBODY: ReadonlySet<string> = new Set();
