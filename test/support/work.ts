import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { withDeadline } from './deadline.ts';
import type { Owner } from './process.ts';
import { listen, receive, receiveSummed, sendHashed, sendSummed } from './tcp.ts';

/** What an application has done by a service: bytes sent to it, or by it, or sent back, with a checksum each time. */
export type Kind = 'upload' | 'download' | 'echo';

/** A download ended in order, but before all had come. */
export class CutShort extends Error {}

/** Something else arrived than was sent. */
export class WrongBytes extends Error {}

/** A service that does what the head of each connection asks for. */
export function workService(t: Owner, port = 0): Promise<number> {
  return listen(t, (socket) => void serve(socket).catch(() => socket.destroy()), port);
}

/**
 * Has a transfer of so many bytes done over a connection of its own, and checks what arrives; half-closes an upload and an echo as soon as all is said. Throws a
 * `CutShort`, a `WrongBytes`, the connection's own error, or a `Late`.
 */
export async function work(port: number, kind: Kind, bytes: number, deadline = DEADLINE_MS): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const failed = new Promise<never>((_, reject) => socket.on('error', reject));
  try {
    socket.write(headOf(kind, bytes));
    await withDeadline(
      Promise.race([WORK[kind](socket, bytes), failed]),
      () => `${kind} of ${bytes} bytes (${socket.bytesWritten} written, ${socket.bytesRead} came)`,
      deadline,
    );
  } finally {
    socket.destroy();
  }
}

const WORK: Record<Kind, (socket: Socket, bytes: number) => Promise<void>> = {
  async upload(socket, bytes) {
    const { sha256 } = await sendSummed(socket, bytes, PATIENCE_MS);
    const { arrived, rest } = await receiveHashed(socket, 0);
    if (arrived !== DIGEST) throw new Error(`${arrived} of ${DIGEST} bytes of an answer arrived`);
    if (rest.toString('hex') !== sha256) throw new WrongBytes('Other bytes arrived at the service than were sent to it');
  },
  async download(socket, bytes) {
    const { arrived, sha256, rest } = await receiveHashed(socket, bytes);
    if (arrived !== bytes + DIGEST) {
      // What Node takes for an end may be a reset, which a write finds out (`ending`): hence no FIN before this.
      await new Promise<void>((resolve, reject) => socket.write(Buffer.alloc(0), (error) => (error ? reject(error) : resolve())));
      throw new CutShort(`${arrived} of ${bytes + DIGEST} bytes arrived from the service`);
    }
    socket.end();
    if (rest.toString('hex') !== sha256) throw new WrongBytes('Other bytes arrived from the service than it has sent');
  },
  async echo(socket, bytes) {
    const [sent, received] = await Promise.all([sendSummed(socket, bytes, PATIENCE_MS), receiveSummed(socket)]);
    if (received.bytes !== bytes) throw new Error(`${received.bytes} of ${bytes} bytes came back`);
    if (received.sha256 !== sent.sha256) throw new WrongBytes('Other bytes came back than were sent');
  },
};

async function serve(socket: Socket): Promise<void> {
  const head = await receive(socket, HEAD);
  const [kind, bytes] = [String.fromCharCode(head[0]!), head.readUIntBE(1, 6)];
  if (kind === 'e') socket.pipe(socket);
  else if (kind === 'u') socket.end(Buffer.from((await receiveSummed(socket)).sha256, 'hex'));
  else socket.end(Buffer.from(await sendHashed(socket, bytes, PATIENCE_MS), 'hex'));
}

/** Everything until FIN: the digest of the first so many bytes, and what comes after them. */
async function receiveHashed(socket: Socket, bytes: number): Promise<{ arrived: number; sha256: string; rest: Buffer }> {
  const hash = createHash('sha256');
  const rest: Buffer[] = [];
  let arrived = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    const own = Math.max(0, Math.min(chunk.length, bytes - arrived));
    hash.update(chunk.subarray(0, own));
    if (own < chunk.length) rest.push(chunk.subarray(own));
    arrived += chunk.length;
  }
  return { arrived, sha256: hash.digest('hex'), rest: Buffer.concat(rest) };
}

/** The kind's first letter, and the number of bytes. */
function headOf(kind: Kind, bytes: number): Buffer {
  const head = Buffer.alloc(HEAD);
  head.write(kind, 0, 1);
  head.writeUIntBE(bytes, 1, 6);
  return head;
}

const HEAD = 7;
const DIGEST = 32;
const DEADLINE_MS = 120_000;
/** The deadline is that of the whole. */
const PATIENCE_MS = 600_000;
