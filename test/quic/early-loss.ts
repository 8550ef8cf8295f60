import type { Link } from '../../src/link/link.ts';
import type { Ticket, TicketStore } from '../../src/quic/tickets.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { drive } from '../support/fake-clock.ts';
import type { Conditions } from '../support/memory-network.ts';
import { connectOptions, newKeys, OVER, quicOptions, REQUEST, SECRET, World } from './pair.ts';

/** What the server makes of the ticket: its own of this process, made by a process before, or one that has come before. */
export const FATES = ['taken', 'unknown', 'used'] as const;
export type Fate = (typeof FATES)[number];

/** Holds one ticket. */
export class Tickets implements TicketStore {
  kept: Ticket | null = null;

  take(): Promise<Ticket | null> {
    const ticket = this.kept;
    this.kept = null;
    return Promise.resolve(ticket);
  }

  keep(_place: number, ticket: Ticket): Promise<void> {
    this.kept = ticket;
    return Promise.resolve();
  }
}

export const earlyServer = () => quicOptions({ earlyData: true });
export const earlyClient = (tickets: TicketStore | null) => ({ ...connectOptions(), tickets });

/** A server that a client has been at before; what it keeps is in `tickets`. */
export async function visited(options = earlyServer(), seed = 1): Promise<{ world: World; tickets: Tickets }> {
  const [world, tickets] = [new World(seed, {}, SECRET, KEYS), new Tickets()];
  await world.listen(options);
  await visit(world, tickets);
  return { world, tickets };
}

/** Which of the datagrams of a client's second visit are lost: one of either side, counted from 0, or some at random. */
export type Loss = { readonly from: 'client' | 'server'; readonly nth: number } | Partial<Conditions>;

/**
 * A client comes back with a ticket and has a question and two uploads at once, all of them as soon as there is a link, while datagrams are lost. Returns how many datagrams each side sent until
 * everything was there.
 * @throws Error when the link is lost, or something comes twice.
 */
export async function returnWithLoss(fate: Fate, loss: Loss, seed = 1): Promise<{ client: number; server: number }> {
  const { world, tickets } = await visited(earlyServer(), seed);
  await spoil(world, tickets, fate);
  world.network.set({ delay: DELAY });
  const sent = { client: 0, server: 0 };
  const earlier = world.network.clients.length;
  let counts = false;
  // What ends the visit before does not count.
  world.network.onSend = (_, from, to) => {
    const client = world.network.clients[earlier];
    counts = client !== undefined && (from === client || (!from.isClient && to.port === client.outerPort));
  };
  world.network.loses = (_, { isClient }) => {
    if (!counts) return false;
    const from = isClient ? 'client' : 'server';
    const number = sent[from]++;
    return 'from' in loss && from === loss.from && number === loss.nth;
  };
  if (!('from' in loss)) world.network.set(loss);
  const before = world.links.length;
  const link = new LinkRecorder(await world.until(world.connect(earlyClient(tickets))));
  const uploads = [QUESTION, UPLOAD, UPLOAD];
  for (const bytes of uploads) void upload(link.link, bytes);
  const done = (): boolean => {
    const come = world.links.slice(before).flatMap(({ accepted }) => accepted.map(({ recorder }) => recorder));
    return come.length === uploads.length && come.every(({ received, ended }) => ended && received > 0);
  };
  await drive(world.clock, () => done() || link.link.state === 'closed', 'everything', 2 * LONGEST);
  if (!done()) throw link.closes[0]!;
  const sizes = world.links[before]!.accepted.map(({ recorder }) => recorder.received).sort((a, b) => a - b);
  if (world.links.length !== before + 1 || String(sizes) !== String(uploads)) throw new Error(`came: ${sizes} bytes`);
  link.link.close(OVER);
  return sent;
}

async function visit(world: World, tickets: Tickets): Promise<void> {
  const link = await world.until(world.connect(earlyClient(tickets)));
  const there = world.links.length;
  link.handler = new LinkRecorder(link);
  await world.drive(() => tickets.kept !== null && world.links.length >= there, 'a ticket');
  link.close(OVER);
  await world.drive(() => world.links.at(-1)!.link.state === 'closed', 'the end');
}

async function spoil(world: World, tickets: Tickets, fate: Fate): Promise<void> {
  if (fate === 'unknown') {
    await world.until(world.listener.close());
    await world.listen(earlyServer());
  } else if (fate === 'used') {
    const { kept } = tickets;
    await visit(world, tickets);
    tickets.kept = kept;
  }
}

async function upload(link: Link, bytes: number): Promise<void> {
  const stream = new StreamRecorder(link.open(REQUEST));
  await stream.write(new Uint8Array(bytes)).then(
    () => stream.stream.end(),
    () => {},
  );
}

/** To make them takes longer than a link. */
const KEYS = newKeys();
/** Milliseconds in each direction. */
const DELAY = 5;
const QUESTION = 100;
const UPLOAD = 150_000;
/** Milliseconds that a client gives a link to come about. */
const LONGEST = 10_000;
