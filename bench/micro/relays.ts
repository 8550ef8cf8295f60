import { parseArgs } from 'node:util';
import { Program } from '../../test/support/process.ts';
import { cpuSeconds } from '../../test/support/processes.ts';
import { withScope } from '../../test/support/scope.ts';
import { median } from '../figures.ts';
import { newConnections } from '../loads/http.ts';
import { IperfServer } from '../loads/iperf.ts';
import { startNginx } from '../loads/nginx.ts';
import { programFile } from '../programs/path.ts';
import { loopbackSite } from '../site.ts';

/**
 * Ways of relaying TCP in one process of Node, by turns: CPU time for each GB and for each new connection.
 *
 *     npx tsc -p bench/tsconfig.json && node build/bench/micro/relays.js --rounds=5 --seconds=3
 */
async function bench(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      kinds: { type: 'string', default: 'bridge,pipe,owned,handles' },
    },
  });
  const kinds = values.kinds.split(',');
  const rows = new Map(kinds.map((kind) => [kind, [] as number[][]]));
  for (let round = 1; round <= Number(values.rounds); round++)
    for (const kind of kinds) {
      const row = await measure(kind, Number(values.seconds));
      rows.get(kind)!.push(row);
      console.error(`${round}/${values.rounds} ${kind}: ${row.map((value) => value.toFixed(2)).join(' ')}`);
    }
  console.log(`| relay | ${HEADS.join(' | ')} |\n|---|${HEADS.map(() => '---|').join('')}`);
  for (const [kind, measured] of rows)
    console.log(`| ${kind} | ${HEADS.map((_, column) => cell(measured.map((row) => row[column]!))).join(' | ')} |`);
}

async function measure(kind: string, seconds: number): Promise<number[]> {
  return await withScope(async (owner) => {
    const { client: here } = loopbackSite();
    const [iperf, nginx] = [await IperfServer.start(owner, here), await startNginx(owner, here)];
    const relayTo = async (port: number) => {
      const relay = new Program(process.execPath, ['--no-deprecation', programFile('relay'), kind, `${port}`], here);
      owner.teardown(() => relay.kill());
      return { relay, target: { host: '127.0.0.1', port: Number(await relay.line(/^\d+$/)) } };
    };
    const bulk = await relayTo(iperf.port);
    const figures: number[] = [];
    for (const streams of [1, 16]) {
      const before = cpuSeconds([bulk.relay.pid]);
      const { bytes } = await iperf.transfer(here, bulk.target, { name: '', streams, down: true }, seconds);
      figures.push(((cpuSeconds([bulk.relay.pid]) - before) / bytes) * 1e9);
    }
    await bulk.relay.kill();
    const short = await relayTo(nginx);
    await newConnections(here, short.target, seconds);
    const [before, since] = [cpuSeconds([short.relay.pid]), performance.now()];
    const perSecond = await newConnections(here, short.target, seconds);
    const opened = (perSecond * (performance.now() - since)) / 1e3;
    return [...figures, ((cpuSeconds([short.relay.pid]) - before) / opened) * 1e6, perSecond];
  });
}

/** The median with the lowest and the highest. */
function cell(values: readonly number[]): string {
  const text = (value: number) => value.toFixed(value < 100 ? 2 : 0);
  return `${text(median(values))} (${text(Math.min(...values))}–${text(Math.max(...values))})`;
}

const HEADS = ['1 stream down, s/GB', '16 streams down, s/GB', 'a connection, µs', 'connections/s'];

await bench();
