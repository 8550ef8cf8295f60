import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { eventually } from '../test/support/deadline.ts';
import { Qtunnel, COMMAND } from '../test/support/qtunnel.ts';
import type { Owner } from '../test/support/process.ts';
import { IperfServer } from './loads/iperf.ts';
import { cpuSecondsIn } from '../test/support/processes.ts';
import { withScope } from '../test/support/scope.ts';
import { loopbackSite } from './site.ts';

/**
 * Shows over how many cores `-workers` spreads the work: what each thread of both ends spends for each GB. What bounds a tunnel on a machine with enough
 * cores is its busiest thread, so a machine with two cores can tell of eight.
 *
 *     npm run build && npx tsc -p bench/tsconfig.json && node build/bench/workers.js --rounds=3 --seconds=3
 */
async function bench(): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '3' } },
  });
  const cases = MODES.flatMap((mode) => WORKERS.map((workers) => ({ mode, workers, rows: [] as Row[] })));
  for (let round = 1; round <= Number(values.rounds); round++)
    for (const { mode, workers, rows } of cases) {
      rows.push(await withScope((scope) => measure(scope, mode, workers, Number(values.seconds))));
      console.error(`${round}/${values.rounds} ${mode}, ${workers}: ${JSON.stringify(rows.at(-1))}`);
    }
  console.log('| mode | workers | both ends | client’s busiest thread | server’s busiest thread |\n|---|---|---|---|---|');
  for (const { mode, workers, rows } of cases) {
    const [total, client, server] = [rows.map((row) => row.total), rows.map((row) => row.client), rows.map((row) => row.server)];
    console.log(`| ${mode} | ${workers} | ${median(total)} | ${median(client)} | ${median(server)} |`);
  }
}

/** CPU seconds for each 10⁹ bytes. */
interface Row {
  readonly total: number;
  readonly client: number;
  readonly server: number;
}

async function measure(scope: Owner, mode: string, workers: number, seconds: number): Promise<Row> {
  const { client: here } = loopbackSite();
  const backend = await IperfServer.start(scope, here);
  const folder = mkdtempSync(join(tmpdir(), 'qtunnel-bench-'));
  scope.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const run = (flags: readonly string[]): Qtunnel => {
    const common = [
      `-quic=${mode === 'QUIC'}`,
      '-fallback=false',
      `-workers=${workers}`,
      `-state-dir=${folder}`,
      '-log-format=json',
    ];
    const end = new Qtunnel(process.execPath, [COMMAND, ...common, ...flags], { env: { QTUNNEL_SECRET: 'of the bench' } });
    scope.teardown(() => end.kill());
    return end;
  };
  const server = run(['-listen=127.0.0.1:0', `-backend=127.0.0.1:${backend.port}`]);
  const { udp, tcp } = await server.event('listening');
  const client = run(['-clientmode', '-listen=127.0.0.1:0', `-backend=${String(tcp ?? udp)}`]);
  const { tcp: local } = await client.event('listening');
  await eventually('the links', () => client.events('link_up').length >= workers);
  const before = [client, server].map(({ pid }) => threads(pid));
  const target = { host: '127.0.0.1', port: Number(String(local).split(':').at(-1)) };
  const { bytes } = await backend.transfer(here, target, { name: '', streams: STREAMS, down: false }, seconds);
  const [near, far] = [client, server].map(({ pid }, index) => spent(before[index]!, threads(pid), bytes));
  return { total: near!.total + far!.total, client: near!.busiest, server: far!.busiest };
}

type Threads = ReadonlyMap<string, number>;

function spent(before: Threads, after: Threads, bytes: number): { total: number; busiest: number } {
  const each = [...after].map(([thread, seconds]) => ((seconds - (before.get(thread) ?? 0)) / bytes) * 1e9);
  return { total: each.reduce((sum, seconds) => sum + seconds, 0), busiest: Math.max(...each) };
}

/** CPU seconds of each thread of a process (Linux). */
function threads(pid: number): Threads {
  const folder = `/proc/${pid}/task`;
  return new Map(readdirSync(folder).map((thread) => [thread, cpuSecondsIn(readFileSync(`${folder}/${thread}/stat`, 'utf8'))]));
}

/** With the lowest and the highest. */
function median(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b).map((value) => value.toFixed(2));
  return `${sorted[Math.floor(sorted.length / 2)]} (${sorted[0]}–${sorted.at(-1)})`;
}

const MODES = ['QUIC', 'TLS'] as const;
const WORKERS = [1, 2, 4];
/** TCP connections: enough for each worker to have several. */
const STREAMS = 16;

await bench();
