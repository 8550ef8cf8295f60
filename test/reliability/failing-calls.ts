import { join } from 'node:path';
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from '../../src/library/connect.ts';
import { eventually, Late, withDeadline } from '../support/deadline.ts';
import { armFailure, callsThatMayFail, failing, type FailingCall, type Setting, SETTINGS } from '../support/failing-calls.ts';
import { temporaryFolder } from '../support/files.ts';
import type { Owner } from '../support/process.ts';
import { openDescriptors } from '../support/processes.ts';
import {
  MODES,
  type Mode,
  type Qtunnel,
  type RunningClient,
  type RunningServer,
  startClient,
  startServer,
} from '../support/qtunnel.ts';
import { SteadyLoad } from '../support/steady-load.ts';
import { freePort } from '../support/tcp.ts';
import { work, workService } from '../support/work.ts';
import { demand, type Experiment } from './experiment.ts';
import { failEachOfHub, HUB_CALLS } from './failing-hub.ts';

/** Each call into the system and the native parts fails once, in a tunnel under load. */
export function failingCalls(): Experiment {
  return {
    name: 'failing-calls',
    title: 'each call into the system, quiche and libc fails once, under load',
    absence: () => (process.platform === 'linux' ? false : 'needs Linux'),
    async run(trial) {
      for (const mode of MODES)
        await trial.part(`${mode}: each call fails once`, (owner, say) => failEach(owner, mode, callsThatMayFail(mode), say));
      for (const setting of SETTINGS)
        await trial.part(`${setting.what}: each call fails once`, (owner, say) =>
          failEach(owner, setting.mode, setting.calls, say, setting),
        );
      await trial.part('hub and agent: each call fails once', (owner, say) => failEachOfHub(owner, HUB_CALLS, say));
    },
  };
}

/** Has these calls fail one after another in one tunnel; returns what came of it, and throws when something was not as it has to be. */
export async function failEach(
  owner: Owner,
  mode: Mode,
  calls: readonly FailingCall[],
  say: (line: string) => void = () => {},
  setting: Pick<Setting, 'flags' | 'host'> = { flags: [] },
): Promise<string> {
  const victims = new Victims(owner, mode, setting);
  await victims.begin();
  const count: Record<Outcome, number> = { 'went on': 0, 'refused to start': 0, 'not called': 0 };
  for (const each of calls) {
    const outcome = await victims.suffer(each);
    count[outcome]++;
    say(`${describe(each)}: ${outcome}`);
  }
  const more = await victims.end();
  const failed = count['went on'] + count['refused to start'];
  demand(victims.wrongs.length === 0, `${victims.wrongs.length} wrong: ${victims.wrongs.join('; ')}`);
  return `${failed} failures: the process went on after ${count['went on']}, said why it does not start after ${count['refused to start']}; ${count['not called']} calls were not made; ${more}`;
}

type Outcome = 'went on' | 'refused to start' | 'not called';

/** A server and a client under load, whose calls fail. A process that should not have ended is started again. */
class Victims {
  readonly wrongs: string[] = [];
  readonly #owner: Owner;
  readonly #mode: Mode;
  readonly #folder: string;
  readonly #flags: readonly string[];
  readonly #host: string;
  #ports!: { readonly server: number; readonly client: number; readonly backend: number };
  #server!: RunningServer;
  #client!: RunningClient;
  #load!: SteadyLoad;
  #descriptors = { server: 0, client: 0 };
  #whole = 0;
  #cut = 0;

  constructor(owner: Owner, mode: Mode, { flags, host = '127.0.0.1' }: Pick<Setting, 'flags' | 'host'>) {
    this.#owner = owner;
    this.#mode = mode;
    this.#host = host;
    this.#folder = temporaryFolder(owner);
    const secret = join(this.#folder, 'secret');
    writeFileSync(secret, `${SECRET}\n`, { mode: 0o600 });
    this.#flags = [
      `-secret-file=${secret}`,
      ...(flags.some((flag) => flag.startsWith('-log-level')) ? [] : ['-log-level=info']),
      '-drain-timeout=1s',
      '-idle-timeout=5s',
      ...(mode === 'quic' ? ['-fallback=false'] : []),
      ...flags,
    ];
  }

  async begin(): Promise<void> {
    this.#ports = { server: await freePort(), client: await freePort(), backend: await workService(this.#owner) };
    this.#server = await this.#startServer();
    this.#client = await this.#startClient();
    await this.#settle();
    this.#load = this.#newLoad();
  }

  async suffer(call: FailingCall): Promise<Outcome> {
    return call.when === 'start' ? await this.#sufferAtStart(call) : await this.#sufferRunning(call);
  }

  /** The load's end, and what is left behind. */
  async end(): Promise<string> {
    await this.#stopLoad();
    for (const side of ['server', 'client'] as const) {
      const { pid } = this.#process(side);
      const left = () => openDescriptors(pid) - this.#descriptors[side];
      await eventually('descriptors as before', () => left() <= SPARE_DESCRIPTORS).catch(() => {
        this.wrongs.push(`the ${side} has ${left()} descriptors more than before`);
      });
    }
    return `${this.#whole.toLocaleString('en')} connections whole meanwhile, ${this.#cut.toLocaleString('en')} cut off, none hung`;
  }

  async #sufferRunning(call: FailingCall): Promise<Outcome> {
    const victim = this.#process(call.side);
    const seen = victim.log.length;
    const failed = victim
      .event('call_failed', { call: call.call }, { skip: seen, deadline: LENGTHY.has(call.when) ? PATIENCE_MS : CALL_PATIENCE_MS })
      .then(
        () => true,
        () => false,
      );
    if (call.inChild === true) writeFileSync(this.#orders(call.side), `${call.call} ${call.nth}`);
    else armFailure(victim, call);
    await this.#provoke(call);
    const outcome = (await failed) ? 'went on' : 'not called';
    if (call.inChild === true) rmSync(this.#orders(call.side), { force: true });
    else armFailure(victim, { ...call, call: 'nothing' });
    await this.#check(call);
    return outcome;
  }

  async #provoke({ when, side }: FailingCall): Promise<void> {
    if (when === 'visit') await this.#visit().catch(() => {});
    if (when === 'return') await this.#restartServer();
    if (when === 'death') {
      const pid = Number(this.#process(side).events('child_started').at(-1)?.['pid']);
      // 0 and what is less are groups of processes.
      if (pid > 0) process.kill(pid, 'SIGKILL');
    }
    if (when === 'reload') {
      const { child, log } = this.#process(side);
      const seen = log.length;
      child.kill('SIGHUP');
      await eventually(
        'the end of the reload',
        () => log.slice(seen).some(({ event }) => event === 'reloaded' || event === 'reload_failed'),
        PATIENCE_MS,
      ).catch(() => {});
    }
  }

  /** Another client, in this process, which may be turned away. */
  async #visit(): Promise<void> {
    const backend = `127.0.0.1:${this.#ports.server}`;
    const stream = await connect({ backend, quic: this.#mode === 'quic', fallback: false, secret: SECRET });
    const closed = new Promise<void>((resolve) => stream.on('error', () => {}).once('close', () => resolve()));
    stream.resume().end();
    await withDeadline(closed, () => 'the end of a visit', PATIENCE_MS);
  }

  async #sufferAtStart(call: FailingCall): Promise<Outcome> {
    const { side } = call;
    await this.#process(side).kill('SIGKILL');
    let outcome: Outcome = 'went on';
    try {
      if (side === 'server') this.#server = await this.#startServer(call);
      else this.#client = await this.#startClient(call);
      if (!this.#process(side).log.some(({ event }) => event === 'call_failed')) outcome = 'not called';
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof Late || !/ended \(1\) before/.test(message))
        this.wrongs.push(`${describe(call)}: ${message.slice(0, 300)}`);
      else if (!/^qtunnel: (?!internal error)/m.test(message))
        this.wrongs.push(`${describe(call)}: it does not say why: ${message.slice(0, 300)}`);
      outcome = 'refused to start';
      if (side === 'server') this.#server = await this.#startServer();
      else this.#client = await this.#startClient();
    }
    await this.#check(call);
    return outcome;
  }

  /** The process is there, and new connections work. */
  async #check(call: FailingCall): Promise<void> {
    for (const side of ['server', 'client'] as const) {
      const victim = this.#process(side);
      if (victim.child.exitCode === null && victim.child.signalCode === null) continue;
      this.wrongs.push(`${describe(call)}: the ${side} ended: ${victim.tail.slice(-500)}`);
      if (side === 'server') this.#server = await this.#startServer();
      else this.#client = await this.#startClient();
    }
    await eventually('a connection that works', () => this.#works()).catch(async () => {
      this.wrongs.push(`${describe(call)}: nothing works any more`);
      await this.#process('client').kill();
      await this.#restartServer();
      this.#client = await this.#startClient();
    });
  }

  async #works(): Promise<boolean> {
    return await work(this.#ports.client, 'echo', 10_000, PATIENCE_MS).then(
      () => true,
      () => false,
    );
  }

  /** What is open with hardly a connection. */
  async #settle(): Promise<void> {
    await withDeadline(work(this.#ports.client, 'echo', 10), () => 'a first connection');
    this.#descriptors = { server: openDescriptors(this.#server.process.pid), client: openDescriptors(this.#client.process.pid) };
  }

  #newLoad(): SteadyLoad {
    return new SteadyLoad(this.#ports.client, APPLICATIONS, TASKS);
  }

  async #stopLoad(): Promise<void> {
    await this.#load.stop();
    this.wrongs.push(...this.#load.wrongs.map(({ message }) => `a connection: ${message}`));
    this.#whole += this.#load.whole;
    this.#cut += this.#load.cut;
  }

  /** What the next child of this side is to fail at. */
  #orders(side: FailingCall['side']): string {
    return join(this.#folder, `${side} orders`);
  }

  #process(side: FailingCall['side']): Qtunnel {
    return side === 'server' ? this.#server.process : this.#client.process;
  }

  async #restartServer(): Promise<void> {
    await this.#server.process.kill('SIGKILL');
    this.#server = await this.#startServer();
  }

  #startServer(call?: FailingCall): Promise<RunningServer> {
    const { server, backend } = this.#ports;
    // What is made at the first start is to be made each time that this is about its failing.
    const stateDir = call === undefined ? join(this.#folder, 'server') : temporaryFolder(this.#owner);
    return startServer(this.#owner, {
      mode: this.#mode,
      backend: `${this.#host}:${backend}`,
      listen: `127.0.0.1:${server}`,
      stateDir,
      secret: null,
      ...failing(call, this.#orders('server')),
      flags: [...this.#flags, '-attempts-per-source=1000'],
    });
  }

  #startClient(call?: FailingCall): Promise<RunningClient> {
    const { server, client } = this.#ports;
    return startClient(this.#owner, {
      mode: this.#mode,
      server: `${this.#host}:${server}`,
      listen: `127.0.0.1:${client}`,
      stateDir: join(this.#folder, 'client'),
      secret: null,
      ...failing(call, this.#orders('client')),
      flags: this.#flags,
      waitForLink: false,
    });
  }
}

function describe({ call, side, when, nth, inChild = false }: FailingCall): string {
  return `${side}${inChild ? "'s child" : ''}: ${call}, ${when}, ${nth}`;
}

const SECRET = 'the secret of the tests';
const APPLICATIONS = 4;
const TASKS = [
  { kind: 'echo', bytes: 100 },
  { kind: 'upload', bytes: 300_000 },
  { kind: 'download', bytes: 300_000 },
  { kind: 'echo', bytes: 100_000 },
] as const;
/** How long what should come may take. */
const PATIENCE_MS = 10_000;
/** What takes longer than a call under load. */
const LENGTHY: ReadonlySet<FailingCall['when']> = new Set(['return', 'death']);
/** How long a call may not be made. */
const CALL_PATIENCE_MS = 4_000;
/** The client's warm connections come and go. */
const SPARE_DESCRIPTORS = 12;
