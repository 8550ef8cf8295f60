import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import type { Owner } from '../support/process.ts';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import type { Mode } from '../support/qtunnel.ts';
import { acceptor, dial, receiveSummed, sendSummed } from '../support/tcp.ts';
import { work, workService } from '../support/work.ts';
import type { Kind } from '../support/work.ts';
import { demand } from './experiment.ts';
import type { Experiment } from './experiment.ts';

/** The shapes that transfers come in, and every byte of them checked. */
export function bulk(): Experiment {
  return {
    name: 'bulk',
    title: 'few large, many small, one after another and at once, hash-checked',
    absence: () => false,
    async run(trial) {
      for (const mode of MODES) {
        for (const shape of SHAPES) await trial.part(`${mode}: ${shape.what}`, (owner) => transferAll(owner, mode, shape));
        await trial.part(`${mode}: ${SINGLE_BYTES.toLocaleString('en')} writes of one byte each way`, (owner) =>
          singleBytes(owner, mode),
        );
        await trial.part(`${mode}: 24 MB both ways at once on one connection`, (owner) => bothWays(owner, mode));
      }
    },
  };
}

interface Shape {
  readonly what: string;
  readonly count: number;
  readonly bytes: number;
  readonly atOnce: number;
  /** In turns. */
  readonly kinds: readonly Kind[];
}

async function transferAll(owner: Owner, mode: Mode, { count, bytes, atOnce, kinds }: Shape): Promise<string> {
  const { port } = await startTunnel(owner, mode, await workService(owner), QUIET);
  const started = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) await work(port, kinds[next++ % kinds.length]!, bytes, DEADLINE_MS);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const seconds = (performance.now() - started) / 1000;
  return `${count.toLocaleString('en')} of ${count.toLocaleString('en')} as they were sent; ${((count * bytes) / 1e6 / seconds).toFixed(0)} MB/s`;
}

/** Each byte is written in a turn of its own, with TCP_NODELAY: most of them travel alone. */
async function singleBytes(owner: Owner, mode: Mode): Promise<string> {
  const { port: backend, accept } = await acceptor(owner);
  const { port } = await startTunnel(owner, mode, backend, QUIET);
  const application = await dial(owner, port);
  const service = await accept();
  service.setNoDelay(true);
  const drip = async (socket: typeof application): Promise<Buffer> => {
    const bytes = Buffer.from(Array.from({ length: SINGLE_BYTES }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
    for (let index = 0; index < bytes.length; index++) {
      if (!socket.write(bytes.subarray(index, index + 1))) await once(socket, 'drain');
      await turn();
    }
    socket.end();
    return bytes;
  };
  const gather = async (socket: typeof application): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  const [up, down, atService, atApplication] = await Promise.all([
    drip(application),
    drip(service),
    gather(service),
    gather(application),
  ]);
  demand(atService.equals(up) && atApplication.equals(down), 'Other bytes arrived than were sent');
  return `${SINGLE_BYTES.toLocaleString('en')} bytes each way in their order`;
}

async function bothWays(owner: Owner, mode: Mode): Promise<string> {
  const { port: backend, accept } = await acceptor(owner);
  const { port } = await startTunnel(owner, mode, backend, QUIET);
  const application = await dial(owner, port);
  const service = await accept();
  const started = performance.now();
  const [up, down, atService, atApplication] = await Promise.all([
    sendSummed(application, BOTH_WAYS),
    sendSummed(service, BOTH_WAYS),
    receiveSummed(service),
    receiveSummed(application),
  ]);
  demand(atService.sha256 === up.sha256 && atApplication.sha256 === down.sha256, 'Other bytes arrived than were sent');
  return `as they were sent; ${((2 * BOTH_WAYS) / 1e3 / (performance.now() - started)).toFixed(0)} MB/s in all`;
}

const MB = 1e6;
const SHAPES: readonly Shape[] = [
  { what: '1 × 1 GB up', count: 1, bytes: 1000 * MB, atOnce: 1, kinds: ['upload'] },
  { what: '1 × 1 GB down', count: 1, bytes: 1000 * MB, atOnce: 1, kinds: ['download'] },
  { what: '1,000 × 1 MB, up and down by turns', count: 1000, bytes: MB, atOnce: 1, kinds: ['upload', 'download'] },
  { what: '10,000 × 10 KB, up and down by turns', count: 10_000, bytes: 10_000, atOnce: 1, kinds: ['upload', 'download'] },
  { what: '100 × 10 MB at once, half up, half down', count: 100, bytes: 10 * MB, atOnce: 100, kinds: ['upload', 'download'] },
  { what: '1,000 × 1 MB at once, half up, half down', count: 1000, bytes: MB, atOnce: 1000, kinds: ['upload', 'download'] },
  { what: '64 MB sent back, half-closed before the first comes', count: 1, bytes: 64 * 2 ** 20, atOnce: 1, kinds: ['echo'] },
];
const SINGLE_BYTES = 100_000;
const BOTH_WAYS = 24 * 2 ** 20;
const DEADLINE_MS = 300_000;
const QUIET = { serverFlags: ['-log-level=info'], clientFlags: ['-log-level=info'] };
