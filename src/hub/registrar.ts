import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import { Backoff } from '../protocol/backoff.ts';
import { newTag } from '../tunnel/tag.ts';
import type { Uplinks } from '../tunnel/uplinks.ts';
import { VERSION } from '../version.ts';
import { JsonLines } from './json-lines.ts';
import { CONTROL_TARGET, encodeRegister, hubMessage, type Registered } from './registration.ts';
import type { AgentSettings } from './settings.ts';

/** Says at the hub who the agent is, over the link that is to be used, and again whenever that is another one. */
export class Registrar {
  readonly #uplink: Uplinks;
  readonly #log: Logger;
  readonly #instance = randomBytes(8).toString('hex');
  readonly #controls = new Map<Link, JsonLines>();
  readonly #backoff = new Backoff(RETRY_INITIAL, RETRY_MAXIMUM, Math.random);
  #settings: AgentSettings | null = null;
  /** Where the hub has been told. */
  #told: Link | null = null;
  /** Links over which the hub was told and has not answered, with who waits for that. */
  readonly #unanswered = new Map<Link, (() => void)[]>();
  #fresh = true;
  #state: Registered['state'] | null = null;
  /** The ports that could not be had, as they were said last. */
  #problems = '';
  #retryTimer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(uplink: Uplinks, log: Logger) {
    this.#uplink = uplink;
    this.#log = log;
  }

  /** What it says from now on; a hub that has been told is told again. */
  use(settings: AgentSettings): void {
    const isNew = this.#settings !== null;
    this.#settings = settings;
    if (isNew) this.#tellAgain();
  }

  handleUp(link: Link): void {
    this.#open(link);
    this.look();
  }

  /** The link carries its last streams; the control stream must not be one of them. */
  handleRetired(link: Link): void {
    this.#controls.get(link)?.end();
    this.#forget(link);
  }

  handleClosed(link: Link): void {
    this.#forget(link);
  }

  /** Looks whether the hub should be told that the agent is on another link. */
  look(): void {
    const link = this.#uplink.current();
    if (this.#stopped || link === null || link === this.#told || link.state !== 'up') return;
    const control = this.#controls.get(link);
    if (control === undefined) return;
    this.#told = link;
    this.#unanswered.set(link, this.#unanswered.get(link) ?? []);
    this.#tell(control);
  }

  /** Resolves when the hub has answered what it was told over this link last, or will not any more. */
  whenAnswered(link: Link): Promise<void> {
    const waiting = this.#unanswered.get(link);
    return waiting === undefined ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve));
  }

  /** Gives the ports back, and takes no new connections. */
  leave(): void {
    this.#stop();
    if (this.#told !== null) this.#controls.get(this.#told)?.send({ type: 'leave' });
    for (const control of this.#controls.values()) control.end();
  }

  stop(): void {
    this.#stop();
    this.#controls.clear();
  }

  #stop(): void {
    this.#stopped = true;
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
  }

  #open(link: Link): void {
    try {
      const stream = link.open({ tag: newTag(), target: CONTROL_TARGET, endpoints: null });
      const control = new JsonLines(stream, {
        onMessage: (message) => this.#handleMessage(link, message),
        onEnd: (reason, code) => this.#handleEnd(link, code === 'NO_BACKEND' ? NO_HUB : reason),
      });
      this.#controls.set(link, control);
    } catch (error) {
      this.#refused('LINK_CLOSED', (error as Error).message);
    }
  }

  #tell(control: JsonLines): void {
    const { name, allow, wishes } = this.#settings!;
    control.send(
      encodeRegister({
        name,
        instance: this.#instance,
        fresh: this.#fresh,
        software: `qtunnel ${VERSION}`,
        allow,
        publish: [...wishes],
      }),
    );
  }

  #handleMessage(link: Link, message: unknown): void {
    const parsed = hubMessage.safeParse(message);
    // Of a later version.
    if (!parsed.success) return;
    const said = parsed.data;
    this.#handleAnswered(link);
    if (said.type === 'registered') return this.#handleRegistered(said);
    this.#controls.get(link)?.end();
    this.#controls.delete(link);
    if (this.#told === link) this.#told = null;
    this.#refused(said.code, said.message);
  }

  #handleRegistered({ state, holder, problems }: Registered): void {
    const { name } = this.#settings!;
    this.#fresh = false;
    const fields = { event: 'registered', agent: name, state };
    if (state === 'waiting' && this.#state !== 'waiting') {
      const message = `another agent at ${holder} has the name ${name}: this one waits until that one is gone; give each a -name of its own`;
      this.#log.warn(fields, message);
    }
    if (state === 'active') this.#log[this.#state === 'active' ? 'debug' : 'info'](fields, `the hub knows this agent as ${name}`);
    this.#state = state;
    this.#tellProblems(problems);
    if (problems.length > 0) this.#retryLater();
    else this.#backoff.reset();
  }

  /** The same again and again is said once. */
  #tellProblems(problems: Registered['problems']): void {
    const texts = problems.map(({ protocol, port, code, message }) => ({ mapping: `${protocol}/${port}`, code, message }));
    const told = JSON.stringify(texts);
    if (told === this.#problems) return;
    this.#problems = told;
    for (const { mapping, code, message } of texts) {
      const fields = { event: 'port_refused', mapping, code, reason: message };
      this.#log.error(fields, `-R: the hub does not open ${mapping}: ${message}`);
    }
    if (texts.length > 0) return;
    for (const { protocol, port } of this.#state === 'active' ? this.#settings!.wishes : [])
      this.#log.info({ event: 'port_open', mapping: `${protocol}/${port}` }, `the hub's port ${protocol}/${port} leads here`);
  }

  #handleEnd(link: Link, reason: string): void {
    const wasTold = this.#told === link;
    this.#forget(link);
    if (link.state === 'closed' || this.#stopped) return;
    if (wasTold) this.#refused('AGENT_REFUSED', reason === '' ? 'the hub has ended the conversation' : reason);
  }

  #refused(code: QtunnelError['code'], message: string): void {
    this.#state = null;
    if (message !== this.#problems)
      this.#log.error({ event: 'agent_refused', code, reason: message }, `the hub does not take this agent: ${message}`);
    this.#problems = message;
    this.#retryLater();
  }

  #handleAnswered(link: Link): void {
    const waiting = this.#unanswered.get(link) ?? [];
    this.#unanswered.delete(link);
    for (const tell of waiting) tell();
  }

  #forget(link: Link): void {
    this.#controls.delete(link);
    this.#handleAnswered(link);
    if (this.#told !== link) return;
    this.#told = null;
    this.look();
  }

  #retryLater(): void {
    if (this.#stopped || this.#retryTimer !== null) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      this.#tellAgain();
    }, this.#backoff.next());
  }

  #tellAgain(): void {
    const link = this.#uplink.current();
    if (link === null || this.#stopped) return;
    if (!this.#controls.has(link)) this.#open(link);
    this.#told = null;
    this.look();
  }
}

const NO_HUB = 'the server at the other end is no hub (qtunnel hub)';
/** Milliseconds: what the hub refuses it may have after a change there. */
const RETRY_INITIAL = 5_000;
const RETRY_MAXIMUM = 60_000;
