import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { eventually, withDeadline } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { COLLECTABLE, residentWithoutGarbage } from '../support/live-memory.ts';
import type { Owner } from '../support/process.ts';
import { openDescriptors, residentBytes } from '../support/processes.ts';
import { startClient, startServer } from '../support/qtunnel.ts';
import type { Tunnel } from '../support/qtunnel.ts';
import { ending, listen } from '../support/tcp.ts';
import { demand } from './experiment.ts';
import type { Experiment } from './experiment.ts';

/** Very many connections over one QUIC connection: what each of them leaves behind would show. */
export function churn(): Experiment {
  return {
    name: 'churn',
    title: '100,000 connects and closes and 10,000 resets with unread data on one QUIC connection',
    absence: () => process.platform !== 'linux' && 'memory and descriptors are read from /proc',
    run: (trial) =>
      trial.part(
        `${thousands(CONNECTS)} connects and closes, and ${thousands(RESETS)} resets with unread data`,
        async (owner, say) => {
          const tunnel = await start(owner);
          const atStart = look(tunnel);
          let highest = 0;
          await inTurns(0, FIRST, tunnel.port);
          const afterFirst = await withoutGarbage(tunnel);
          for (let from = FIRST; from < CONNECTS + RESETS; from += FIRST) {
            const now = look(tunnel);
            highest = Math.max(highest, now.server.rss, now.client.rss);
            say(`${thousands(from)}: ${describe(now)}`);
            await inTurns(from, from + FIRST, tunnel.port);
          }

          await eventually(`descriptors at ${describe(atStart)}`, () => isBack(look(tunnel), atStart));
          const atEnd = await withoutGarbage(tunnel);
          const growth = { server: atEnd.server.rss - afterFirst.server.rss, client: atEnd.client.rss - afterFirst.client.rss };
          demand(
            Math.max(growth.server, growth.client) < GROWTH_LIMIT,
            `RSS after the first ${thousands(FIRST)}: ${describe(afterFirst)}; at the end: ${describe(atEnd)}`,
          );
          const links = tunnel.client.process.events('link_up').length;
          demand(links === 1, `The link came up ${links} times`);
          return `no stall, one link; RSS without garbage, against after the first ${thousands(FIRST)}: server ${signed(growth.server)} MB, client ${signed(growth.client)} MB (with garbage ${megabytes(highest)} MB at most); descriptors as before`;
        },
      ),
  };
}

async function start(owner: Owner): Promise<Tunnel> {
  const common = { mode: 'quic', flags: ['-log-level=info'], env: COLLECTABLE, stateDir: temporaryFolder(owner) } as const;
  const server = await startServer(owner, { ...common, backend: await startService(owner) });
  const client = await startClient(owner, { ...common, server: server.port });
  return { server, client, port: client.port };
}

/** The first byte says what the service does: `e` sends it back, `f` sends much more than is read, `m` resets without reading. */
function startService(owner: Owner): Promise<number> {
  return listen(owner, (socket) => {
    socket.once('readable', () => {
      const first = (socket.read(1) as Buffer | null)?.toString() ?? '';
      if (first === 'm') return socket.resetAndDestroy();
      if (first === 'f') return socket.write(UNREAD);
      return socket.end(first);
    });
  });
}

/** Every eleventh is a reset, by the application and by the service in turns. */
function one(port: number, index: number): Promise<void> {
  if (index % 11 !== 0) return index % 2 === 0 ? withoutByte(port) : withByte(port);
  return index % 2 === 0 ? resetByApplication(port) : resetByService(port);
}

async function withoutByte(port: number): Promise<void> {
  const socket = open(port);
  socket.end();
  demand((await ending(socket)) === 'fin', 'A connection without a byte was reset');
  socket.destroy();
}

async function withByte(port: number): Promise<void> {
  const socket = open(port);
  socket.end('e');
  const bytes: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => bytes.push(chunk));
  demand((await ending(socket)) === 'fin' && Buffer.concat(bytes).toString() === 'e', 'A byte did not come back');
  socket.destroy();
}

async function resetByApplication(port: number): Promise<void> {
  const socket = open(port);
  const begun = new Promise<void>((resolve, reject) =>
    socket.once('readable', resolve).once('close', () => reject(new Error('closed before a byte'))),
  );
  socket.write('f');
  await withDeadline(begun, () => 'the first of many bytes');
  socket.resetAndDestroy();
}

async function resetByService(port: number): Promise<void> {
  const socket = open(port);
  socket.write('m');
  socket.write(UNREAD);
  demand((await ending(socket)) === 'reset', 'A reset by the service arrived as an end');
  socket.destroy();
}

function open(port: number): Socket {
  return connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }).on('error', () => {});
}

/** Those from one number to another, some at a time. */
async function inTurns(from: number, to: number, port: number): Promise<void> {
  let next = from;
  const worker = async () => {
    while (next < to) await one(port, next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

interface State {
  readonly server: { readonly rss: number; readonly descriptors: number };
  readonly client: { readonly rss: number; readonly descriptors: number };
}

function look({ server, client }: Tunnel): State {
  const of = (pid: number) => ({ rss: residentBytes([pid]), descriptors: openDescriptors(pid) });
  return { server: of(server.process.pid), client: of(client.process.pid) };
}

async function withoutGarbage(tunnel: Tunnel): Promise<State> {
  const { server, client } = look(tunnel);
  return {
    server: { ...server, rss: await residentWithoutGarbage(tunnel.server.process.pid) },
    client: { ...client, rss: await residentWithoutGarbage(tunnel.client.process.pid) },
  };
}

function isBack(now: State, before: State): boolean {
  return now.server.descriptors <= before.server.descriptors && now.client.descriptors <= before.client.descriptors;
}

function describe({ server, client }: State): string {
  const of = ({ rss, descriptors }: State['server']) => `${megabytes(rss)} MB, ${descriptors} descriptors`;
  return `server ${of(server)}; client ${of(client)}`;
}

function megabytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

function signed(bytes: number): string {
  return bytes < 0 ? `−${megabytes(-bytes)}` : `+${megabytes(bytes)}`;
}

function thousands(count: number): string {
  return count.toLocaleString('en');
}

const CONNECTS = 100_000;
const RESETS = 10_000;
const FIRST = 10_000;
const AT_ONCE = 50;
const GROWTH_LIMIT = 20 * 2 ** 20;
const UNREAD = Buffer.alloc(64 * 1024);
