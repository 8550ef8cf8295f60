import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { COMMAND, Qtunnel } from '../../test/support/qtunnel.ts';
import type { Contender, End, Stage, Target } from '../contender.ts';

/** A public port of a hub, and the agent behind it. */
export interface AgentTarget extends Target {
  /** Those that have been started, the last one last. The first has its link when the contender is up. */
  readonly agents: readonly Qtunnel[];
  /** Starts one more, as after the end of the one before. */
  startAgent(): Qtunnel;
}

/** A mapping of the hub's through an agent, made over the API as a user would, over this transport and no other. */
export function throughAgent(name: string, transport: 'quic' | 'tls'): Contender<AgentTarget> {
  const { ofHub, ofAgent } = FLAGS[transport];
  return {
    name,
    needs: {},
    absence,
    start: async (stage) => {
      const { client } = stage.site;
      await startHub(stage, ofHub);
      const agents: Qtunnel[] = [];
      const startAgent = (): Qtunnel => {
        const agent = run(stage, 'server', ['agent', `-server=${client.address}:${LINK_PORT}`, ...ofAgent]);
        agents.push(agent);
        return agent;
      };
      await startAgent().event('registered');
      await map(stage, `-target=127.0.0.1:${stage.backendPort}`);
      return { host: client.address, port: PUBLIC_PORT, agents, startAgent };
    },
  };
}

/** A direct mapping: the hub dials the target itself. */
export function direct(name: string): Contender {
  return {
    name,
    needs: {},
    absence,
    start: async (stage) => {
      const { client, server } = stage.site;
      await startHub(stage, ['-tunnel=false']);
      await map(stage, `-target=${server.address}:${stage.backendPort}`, '-direct');
      return { host: client.address, port: PUBLIC_PORT };
    },
  };
}

function absence(): string | null {
  return existsSync(COMMAND) ? null : 'not built: npm run build';
}

async function startHub(stage: Stage, flags: readonly string[]): Promise<void> {
  const listen = flags.includes('-tunnel=false') ? [] : [`-listen=:${LINK_PORT}`];
  const hub = run(stage, 'client', ['hub', ...listen, `-ports=${PUBLIC_PORT}`, `-api=${API}`, ...flags]);
  await hub.event('api');
}

async function map({ site }: Stage, ...flags: readonly string[]): Promise<void> {
  const [file, ...rest] = [...site.client.prefix, process.execPath, COMMAND, 'mapping', 'create', `-port=${PUBLIC_PORT}`, ...flags];
  await promisify(execFile)(file!, [...rest, `-api=${API}`]);
}

function run({ folder, add }: Stage, end: End, [command, ...flags]: readonly string[]): Qtunnel {
  const args = [COMMAND, command!, '-log-format=json', `-state-dir=${folder}/${end}`, MANY, ...flags];
  return add(end, (options) => new Qtunnel(process.execPath, args, { ...options, env: { QTUNNEL_SECRET: 'of the bench' } }));
}

const FLAGS = {
  quic: { ofHub: [], ofAgent: ['-fallback=false'] },
  tls: { ofHub: ['-quic=false'], ofAgent: ['-quic=false'] },
} as const;
/** Each stands in a namespace where nobody else has it. */
const LINK_PORT = 9000;
const PUBLIC_PORT = 10022;
const API = '127.0.0.1:8080';
const MANY = '-max-connections=20000';
