import { FRAME, FrameReader } from '../../src/protocol/frames.ts';
import type { QuicConnection } from '../../src/quic/connection.ts';
import { CONTROL_STREAM } from '../../src/quic/stage.ts';
import { type LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { drive } from '../support/fake-clock.ts';
import { makeWorld, quic, REQUEST, type WorldPair } from './pair.ts';

/** What ends or moves a stream, or lets one have more: frames of the control stream, and what quiche is asked to say for this side. */
export const KINDS = ['OPEN', 'SMALL', 'CREDIT', 'MOVE', 'FIN', 'RESET', 'GOAWAY', 'STREAM with FIN', 'STREAM cut off'] as const;
export type Kind = (typeof KINDS)[number];

export interface Loss {
  readonly from: 'client' | 'server';
  /** The datagrams that go out in the turn in which the first of these was written, or the `nth` datagram of all from 0. */
  readonly what: Kind | number;
}

export interface Outcome {
  /** Datagrams that were lost. */
  readonly lost: number;
  /** Datagrams that each side has sent. */
  readonly sent: { client: number; server: number };
}

/**
 * A link with every kind of frame in both directions: small streams and large ones that end, resets from either side before and after a move, credit, and draining. Some datagrams of it are lost,
 * each once. With `blocks` they are sent again below QUIC, else by quiche.
 * @throws Error when something does not come about.
 */
export async function loseOnce(blocks: boolean, loss: Loss): Promise<Outcome> {
  const pair = await makeWorld({ link: { congestion: blocks ? 'bbr' : 'cubic', buffer: 512 * 1024 } });
  await pair.world.clock.advance(100);
  const watch = new Watch(pair, loss);
  await useAll(pair);
  return { lost: watch.lost, sent: watch.sent };
}

async function useAll(pair: WorldPair): Promise<void> {
  const { client, server } = pair;
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    await exchange(pair, from, to, 500);
    await exchange(pair, from, to, 300_000);
    await cutOff(pair, from, to, 500);
    await cutOff(pair, from, to, 50_000);
  }
  client.link.drain();
  await until(pair, 'the link to drain', () => client.closes.length > 0 && server.closes.length > 0);
  for (const { closes } of [client, server]) if (closes[0]!.code !== 'LINK_CLOSED') throw closes[0]!;
}

/** A stream with so many bytes in each direction, both of which end. */
async function exchange(pair: WorldPair, from: LinkRecorder, to: LinkRecorder, bytes: number): Promise<void> {
  const here = new StreamRecorder(from.link.open(REQUEST));
  const accepted = accept(to);
  here.write(new Uint8Array(bytes)).then(() => here.stream.end(), ignore);
  await until(pair, 'a stream to be opened', () => accepted() !== undefined);
  const there = accepted()!;
  there.write(new Uint8Array(bytes)).then(() => there.stream.end(), ignore);
  await until(pair, `${bytes} bytes both ways`, () => here.ended && there.ended);
  if (here.received !== bytes || there.received !== bytes)
    throw new Error(`${here.received} and ${there.received} bytes of ${bytes}`);
}

/** A stream whose opener resets it after so many bytes. */
async function cutOff(pair: WorldPair, from: LinkRecorder, to: LinkRecorder, bytes: number): Promise<void> {
  const here = new StreamRecorder(from.link.open(REQUEST));
  const accepted = accept(to);
  here.write(new Uint8Array(bytes)).catch(ignore);
  await until(pair, 'bytes of a stream', () => accepted()?.received === bytes);
  here.stream.reset('RESET', 'enough');
  await until(pair, 'a reset', () => accepted()!.resets.length > 0);
  await until(pair, 'a stream to be forgotten', () => from.link.streams === 0 && to.link.streams === 0);
}

function accept(to: LinkRecorder): () => StreamRecorder | undefined {
  const next = to.accepted.length;
  return () => to.accepted[next]?.recorder;
}

function until({ world }: WorldPair, what: string, done: () => boolean): Promise<void> {
  return drive(world.clock, done, what, STALL_MS);
}

/** Counts datagrams, looks at what is written to find the one that is meant, and loses that. */
class Watch {
  lost = 0;
  readonly sent = { client: 0, server: 0 };
  readonly #loss: Loss;
  #armed = false;
  #done = false;

  constructor({ world, client, server }: WorldPair, loss: Loss) {
    this.#loss = loss;
    const { connection } = quic(loss.from === 'client' ? client : server);
    this.#tap(connection);
    world.network.loses = (_, { isClient }) => this.#loses(isClient ? 'client' : 'server');
  }

  #loses(from: 'client' | 'server'): boolean {
    const number = this.sent[from]++;
    const { what } = this.#loss;
    const isMeant = from === this.#loss.from && (typeof what === 'number' ? number === what : this.#armed);
    if (isMeant) this.lost++;
    return isMeant;
  }

  #handle(kind: Kind | undefined): void {
    if (kind !== this.#loss.what || this.#done) return;
    this.#done = this.#armed = true;
  }

  #tap(connection: QuicConnection): void {
    const { native } = connection;
    const reader = new FrameReader({ onFrame: (type) => this.#handle(NAMES.get(type)), onData() {} });
    const { streamSend } = native;
    native.streamSend = (id, bytes, fin) => {
      const taken = streamSend.call(native, id, bytes, fin);
      if (id === CONTROL_STREAM && taken !== null) reader.push(bytes.subarray(0, taken));
      if (fin && taken === bytes.length) this.#handle(bytes.at(-1) === 0 ? 'STREAM with FIN' : 'STREAM cut off');
      return taken;
    };
    // Of the turn that writes it all datagrams are lost, and none after that.
    const turn = connection.turn.bind(connection);
    connection.turn = () => {
      const armed = this.lost;
      turn();
      if (this.#armed && this.lost > armed) this.#armed = false;
    };
  }
}

const NAMES: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [FRAME.OPEN, 'OPEN'],
  [FRAME.SMALL, 'SMALL'],
  [FRAME.CREDIT, 'CREDIT'],
  [FRAME.MOVE, 'MOVE'],
  [FRAME.FIN, 'FIN'],
  [FRAME.RESET, 'RESET'],
  [FRAME.GOAWAY, 'GOAWAY'],
]);
const ignore = (): void => {};
/** Milliseconds, of which quiche takes up to 1,000 before it sends again what was lost. */
const STALL_MS = 8_000;
