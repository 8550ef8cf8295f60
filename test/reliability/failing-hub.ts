import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { callApi, type Reply } from '../hub/support/api.ts';
import { eventually, Late } from '../support/deadline.ts';
import { armFailure, failing } from '../support/failing-calls.ts';
import { temporaryFolder } from '../support/files.ts';
import type { Owner } from '../support/process.ts';
import { type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { SteadyLoad } from '../support/steady-load.ts';
import { freePort } from '../support/tcp.ts';
import { work, workService } from '../support/work.ts';
import { demand } from './experiment.ts';

/** A call of a hub or its agent that fails once, and what makes it. */
export interface HubCall {
  readonly call: string;
  readonly side: 'hub' | 'agent';
  /** `load`: connections and datagrams come. `manage`: mappings are made and removed. `start`: the hub starts. */
  readonly when: 'load' | 'manage' | 'start';
  readonly nth: number;
}

/** Has these calls fail one after another; returns what came of it, and throws when something was not as it has to be. */
export async function failEachOfHub(
  owner: Owner,
  calls: readonly HubCall[],
  say: (line: string) => void = () => {},
): Promise<string> {
  const victims = new HubVictims(owner);
  await victims.begin();
  let [failed, refused] = [0, 0];
  for (const each of calls) {
    const outcome = await victims.suffer(each);
    if (outcome !== 'not called') failed++;
    if (outcome === 'refused to start') refused++;
    say(`${describe(each)}: ${outcome}`);
  }
  const more = await victims.end();
  demand(victims.wrongs.length === 0, `${victims.wrongs.length} wrong: ${victims.wrongs.join('; ')}`);
  return `${failed} of ${calls.length} were made and failed; ${refused} times the hub said why it does not start; ${more}`;
}

type Outcome = 'went on' | 'refused to start' | 'not called';

/** A hub with its API and database and an agent, with a TCP and a UDP mapping under load. One that should not have ended is started again. */
class HubVictims {
  readonly wrongs: string[] = [];
  readonly #owner: Owner;
  readonly #folder: string;
  #ports!: Record<'hub' | 'api' | 'tcp' | 'udp' | 'spare' | 'service' | 'echo', number>;
  #hub!: Qtunnel;
  #agent!: Qtunnel;
  #load!: SteadyLoad;
  /** Answers of the API while a call failed, by their status. */
  readonly #answers = new Map<string, number>();

  constructor(owner: Owner) {
    this.#owner = owner;
    this.#folder = temporaryFolder(owner);
  }

  async begin(): Promise<void> {
    const [hub, api, tcp, udp, spare] = [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()];
    const service = await workService(this.#owner);
    this.#ports = { hub, api, tcp, udp, spare, service, echo: await this.#echo() };
    this.#hub = await this.#startHub();
    this.#agent = this.#startAgent();
    await this.#make(tcp, { target: `localhost:${service}` });
    await this.#make(udp, { target: `localhost:${this.#ports.echo}`, protocol: 'udp' });
    await eventually('a first connection', () => this.#works());
    this.#load = new SteadyLoad(tcp, APPLICATIONS, TASKS);
    this.#owner.teardown(() => this.#load.stop());
  }

  async suffer(call: HubCall): Promise<Outcome> {
    return call.when === 'start' ? await this.#sufferAtStart(call) : await this.#sufferRunning(call);
  }

  async end(): Promise<string> {
    await this.#load.stop();
    this.wrongs.push(...this.#load.wrongs.map(({ message }) => `a connection: ${message}`));
    const answers = [...this.#answers].toSorted().map(([status, count]) => `${count} × ${status}`);
    return `the API answered ${answers.join(', ')} meanwhile; ${this.#load.whole} connections whole, ${this.#load.cut} cut off, none hung`;
  }

  async #sufferRunning(call: HubCall): Promise<Outcome> {
    const victim = call.side === 'hub' ? this.#hub : this.#agent;
    const failed = victim.event('call_failed', { call: call.call }, { skip: victim.log.length, deadline: CALL_PATIENCE_MS }).then(
      () => true,
      () => false,
    );
    armFailure(victim, call);
    if (call.when === 'manage') await this.#manage(call);
    else await this.#sendDatagram();
    const outcome = (await failed) ? 'went on' : 'not called';
    armFailure(victim, { call: 'nothing', nth: 1 });
    await this.#check(call);
    return outcome;
  }

  /** A request whose own connection fails has no answer. Any other has one, with 503 or 409 if it was not done. */
  async #manage(call: HubCall): Promise<void> {
    const { api, spare } = this.#ports;
    const requests: readonly (readonly [string, string, object?])[] = [
      ['GET', '/api/v1/mappings'],
      ['POST', '/api/v1/mappings', { port: spare, target: 'localhost:9' }],
      ['GET', '/api/v1/audit'],
      ['DELETE', `/api/v1/mappings/tcp/${spare}`],
    ];
    for (const [method, path, body] of requests) {
      const { status, text } = await callApi(api, method, path, body).catch(() => NO_ANSWER);
      const answer = status === NO_ANSWER.status ? 'none' : String(status);
      this.#answers.set(answer, (this.#answers.get(answer) ?? 0) + 1);
      if (status >= 500 && status !== 503) this.wrongs.push(`${describe(call)}: ${method} ${path}: ${status} ${text}`);
    }
  }

  async #sufferAtStart(call: HubCall): Promise<Outcome> {
    await this.#hub.kill('SIGKILL');
    let outcome: Outcome = 'went on';
    try {
      this.#hub = await this.#startHub(call);
      if (this.#hub.events('call_failed').length === 0) outcome = 'not called';
    } catch (error) {
      const { message } = error as Error;
      outcome = 'refused to start';
      if (error instanceof Late || !/ended \(1\) before/.test(message) || !/^qtunnel: (?!internal error)/m.test(message))
        this.wrongs.push(`${describe(call)}: ${message.slice(0, 500)}`);
      this.#hub = await this.#startHub();
    }
    await this.#check(call);
    return outcome;
  }

  /** Both processes are there, both mappings carry, and one more can be made and removed. */
  async #check(call: HubCall): Promise<void> {
    for (const [name, victim] of [['hub', this.#hub] as const, ['agent', this.#agent] as const]) {
      if (victim.child.exitCode === null && victim.child.signalCode === null) continue;
      this.wrongs.push(`${describe(call)}: the ${name} ended: ${victim.tail.slice(-500)}`);
      if (name === 'hub') this.#hub = await this.#startHub();
      else this.#agent = this.#startAgent();
    }
    const isManaged = () => this.#isManaged().catch(() => false);
    const isWell = async () => (await this.#works()) && (await isManaged());
    await eventually('that all works', isWell).catch(() => this.wrongs.push(`${describe(call)}: not all works any more`));
  }

  async #works(): Promise<boolean> {
    try {
      await work(this.#ports.tcp, 'echo', 1_000, PATIENCE_MS);
      return await this.#sendDatagram();
    } catch {
      return false;
    }
  }

  async #isManaged(): Promise<boolean> {
    const { api, tcp, udp, spare } = this.#ports;
    const remove = () => callApi(api, 'DELETE', `/api/v1/mappings/tcp/${spare}`);
    await remove();
    const { status } = await this.#post(spare, { target: 'localhost:9' });
    const listed = (await callApi(api, 'GET', '/api/v1/mappings')).body?.mappings as { port: number }[] | undefined;
    const removed = await remove();
    const ports = (listed ?? []).map(({ port }) => port).toSorted();
    return status === 201 && removed.status === 204 && String(ports) === String([tcp, udp, spare].toSorted());
  }

  /** Whether it came back. */
  async #sendDatagram(): Promise<boolean> {
    const socket = createSocket('udp4');
    try {
      socket.send('hello', this.#ports.udp, '127.0.0.1');
      await once(socket, 'message', { signal: AbortSignal.timeout(DATAGRAM_MS) });
      return true;
    } catch {
      return false;
    } finally {
      socket.close();
    }
  }

  async #make(port: number, mapping: object): Promise<void> {
    const { status, text } = await this.#post(port, mapping);
    demand(status === 201, text);
  }

  #post(port: number, mapping: object): Promise<Reply> {
    return callApi(this.#ports.api, 'POST', '/api/v1/mappings', { port, ...mapping });
  }

  async #echo(): Promise<number> {
    const socket: Socket = createSocket('udp4');
    this.#owner.teardown(() => socket.close());
    socket.on('message', (datagram, { port, address }) => socket.send(datagram, port, address));
    await once(socket.bind(0, '127.0.0.1'), 'listening');
    return socket.address().port;
  }

  async #startHub(call?: HubCall): Promise<Qtunnel> {
    const { hub, api } = this.#ports;
    const flags = [`-listen=127.0.0.1:${hub}`, `-api=127.0.0.1:${api}`, '-ports=127.0.0.1:10000-65535', '-api-rate=1000000'];
    const words = ['hub', ...flags, '-log-level=info', `-state-dir=${this.#folder}`];
    const running = startQtunnel(this.#owner, words, { ...failing(call) });
    await running.event('api');
    return running;
  }

  #startAgent(): Qtunnel {
    const flags = [`-server=localhost:${this.#ports.hub}`, '-name=box', '-log-level=info', '-dial-timeout=2s'];
    return startQtunnel(this.#owner, ['agent', ...flags, `-state-dir=${this.#folder}`], { ...failing() });
  }
}

function describe({ call, side, when, nth }: HubCall): string {
  return `${side}: ${call}, ${when}, ${nth}`;
}

function calls(side: HubCall['side'], when: HubCall['when'], names: readonly string[], times = 1): HubCall[] {
  return names.flatMap((call) => Array.from({ length: times }, (_, index) => ({ call, side, when, nth: index + 1 })));
}

const DATABASE = ['sqlite SQLITE_FULL', 'sqlite SQLITE_BUSY', 'sqlite SQLITE_READONLY', 'sqlite SQLITE_IOERR'];
export const HUB_CALLS: readonly HubCall[] = [
  // A change of a mapping has seven: begin, insert, audit, its end, commit, and what a failure rolls back.
  ...calls('hub', 'manage', DATABASE, 7),
  ...calls('hub', 'manage', ['tcp.listen', 'tcp.bind', 'tcp.getsockname', 'tcp.accept', 'tcp.readStart']),
  ...calls('hub', 'load', ['tcp.accept', 'tcp.readStart', 'tcp.writeBuffer', 'tcp.shutdown', 'libc.sendmsg', 'libc.recvmmsg'], 2),
  ...calls('agent', 'load', ['tcp.connect', 'dns.lookup', 'dns.lookup without an answer'], 2),
  ...calls('agent', 'load', ['udp.bind', 'udp.connect', 'udp.recvStart', 'udp.getsockname', 'udp.send', 'tcp.writeBuffer']),
  ...calls('hub', 'start', [...DATABASE, 'fs.openSync', 'promises.mkdir', 'tcp.listen', 'tcp.bind', 'udp.bind']),
];
const NO_ANSWER = { status: 0, text: '' };
const APPLICATIONS = 2;
const TASKS = [
  { kind: 'echo', bytes: 100 },
  { kind: 'download', bytes: 100_000 },
] as const;
const PATIENCE_MS = 10_000;
const CALL_PATIENCE_MS = 4_000;
const DATAGRAM_MS = 1_000;
