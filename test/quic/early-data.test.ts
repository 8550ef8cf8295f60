import { test } from 'tap';
import type { Link } from '../../src/link/link.ts';
import type { TicketStore } from '../../src/quic/tickets.ts';
import { eventually } from '../support/deadline.ts';
import { LIMITS } from '../link/limits.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { earlyClient as client, earlyServer as server, Tickets, visited as visitedServer } from './early-loss.ts';
import { connectOptions, newKeys, OVER, PORT, quicOptions, REQUEST, World } from './pair.ts';

/** A server that a client has been at before; what it keeps is in `tickets`. From then on it is far away. */
async function visited(options = server()): Promise<{ world: World; tickets: Tickets }> {
  const visitor = await visitedServer(options);
  visitor.world.network.set({ delay: DELAY });
  return visitor;
}

/** Says hello on a stream as soon as there is a link; the time until the server has heard it, in one-way trips. */
async function timeToFirstByte(world: World, tickets: TicketStore | null, before = world.links.length): Promise<number> {
  const began = world.clock.now();
  const link = await world.until(world.connect(client(tickets)));
  const stream = new StreamRecorder(new LinkRecorder(link).link.open(REQUEST));
  stream.stream.write(Buffer.from('hello'));
  await world.drive(() => heard(world, before).includes('hello'), 'hello');
  const trips = (world.clock.now() - began) / DELAY;
  await world.drive(() => !Number.isNaN(link.stats().rtt), 'an answer');
  link.close(OVER);
  return trips;
}

function heard(world: World, from: number): string[] {
  return world.links.slice(from).flatMap(({ accepted }) => accepted.map(({ recorder }) => recorder.text));
}

void test('the first bytes after a restart of the client are with the server after one trip, not after five', async (t) => {
  const { world, tickets } = await visited();
  const without = await timeToFirstByte(world, null);
  t.ok(without >= 5, `${without} trips`);
  const early = await timeToFirstByte(world, tickets);
  t.ok(early >= 1 && early < 2, `${early} trips`);
});

void test('an early link goes on as any other: answers, bulk both ways, reports, a new ticket', async (t) => {
  const { world, tickets } = await visited();
  const before = world.links.length;
  const link = new LinkRecorder(await world.until(world.connect(client(tickets))));
  t.equal(tickets.kept, null, 'a ticket is used once');
  const near = new StreamRecorder(link.link.open(REQUEST));
  const bulk = Buffer.alloc(300_000, 'up');
  let sent = near.stream.write(bulk);
  t.ok(sent < bulk.length);
  near.onWritable = () => void (sent += near.stream.write(bulk.subarray(sent)));
  await world.drive(() => world.links.length > before && world.links[before]!.accepted.length > 0, 'the stream');
  const far = world.links[before]!.accepted[0]!.recorder;
  await world.drive(() => far.received === bulk.length, 'all of it');
  t.ok(far.bytes.equals(bulk));
  far.stream.write(Buffer.from('and back'));
  await world.drive(() => near.text === 'and back', 'an answer');
  await world.drive(() => tickets.kept !== null, 'another ticket');
  t.ok(link.link.stats().rtt >= 2 * DELAY);
  link.link.close(OVER);
});

void test('both sides tell whether early data was taken', async (t) => {
  const { world, tickets } = await visited();
  const visit = async (): Promise<[client: boolean[], server: boolean[]]> => {
    const link = new LinkRecorder(await world.until(world.connect(client(tickets))));
    new StreamRecorder(link.link.open(REQUEST)).stream.write(Buffer.from('hello'));
    await world.drive(() => link.earlyData.length > 0 && tickets.kept !== null, 'the outcome, and another ticket');
    const there = world.links.at(-1)!;
    link.link.close(OVER);
    await world.drive(() => there.link.state === 'closed', 'the end');
    return [link.earlyData, there.earlyData];
  };
  t.strictSame(await visit(), [[true], [true]]);
  world.listener.prepare(server(), world.keys)();
  t.strictSame(await visit(), [[false], []], 'tickets of before do not open');
});

void test('early data that is answered with Retry comes after the handshake, once, and nothing is lost', async (t) => {
  const { world, tickets } = await visited(quicOptions({ earlyData: true, strangers: { ...LIMITS, retryAbove: 0 } }));
  const refusals: string[] = [];
  world.listener.onRefusal = (refusal) => void refusals.push(refusal);
  const before = world.links.length;
  const trips = await timeToFirstByte(world, tickets);
  t.same(refusals, ['retry']);
  t.ok(trips >= 5, `${trips} trips`);
  t.same(heard(world, before), ['hello']);
  t.strictSame(world.links[before]!.earlyData, [true]);
});

void test('a first flight that is played again is not delivered again', async (t) => {
  const { world, tickets } = await visited();
  const flight: Uint8Array[] = [];
  const before = world.links.length;
  world.network.onSend = (bytes, from) => {
    if (from.isClient && world.links.length === before) flight.push(Uint8Array.from(bytes));
  };
  await timeToFirstByte(world, tickets);
  await world.drive(() => world.links.at(-1)!.link.state === 'closed', 'the end');
  t.ok(flight.length >= 1);
  const refusals: string[] = [];
  world.listener.onRefusal = (refusal) => void refusals.push(refusal);
  const links = world.links.length;
  const attacker = await world.network.open({ bind: { host: '', port: 0 }, connect: { host: '127.0.0.1', port: PORT } });
  const play = async (): Promise<boolean> => {
    for (const datagram of flight) {
      attacker.sendBuffer.set(datagram);
      attacker.send(datagram.length, datagram.length, { host: '127.0.0.1', port: PORT });
      await world.clock.advance(2 * DELAY);
    }
    return refusals.includes('replay');
  };
  // As long as the connection that it began is there, it comes to that.
  await eventually('it is refused', play);
  t.equal(world.links.length, links, 'no link');
  t.equal(heard(world, before).filter((text) => text.includes('hello')).length, 1);
});

void test('a ticket is good for one first flight: with a used one the client is served as if it had none', async (t) => {
  const { world, tickets } = await visited();
  const { kept } = tickets;
  t.ok((await timeToFirstByte(world, tickets)) < 2);
  await world.clock.advance(2 * DELAY);
  const before = world.links.length;
  tickets.kept = kept;
  const trips = await timeToFirstByte(world, tickets);
  t.ok(trips > 2, `${trips} trips`);
  t.equal(world.links.length, before + 1);
  t.same(heard(world, before), ['hello'], 'once');
});

void test('early data that a restarted server does not take is sent again, and nothing is lost', async (t) => {
  const { world, tickets } = await visited();
  await world.until(world.listener.close());
  await world.listen(server());
  const trips = await timeToFirstByte(world, tickets);
  t.ok(trips > 2, `${trips} trips`);
});

void test('what a server did not take comes again at once, however long the server took for its first answer', async (t) => {
  const { world, tickets } = await visited();
  await world.until(world.listener.close());
  await world.listen(server());
  const link = await world.until(world.connect(client(tickets)));
  new StreamRecorder(new LinkRecorder(link).link.open(REQUEST)).stream.write(Buffer.from('hello'));
  const before = world.links.length;
  const late: Uint8Array[] = [];
  let answeredAt = Infinity;
  // By a timer, for which real time passes: quiche measures the round trip by the machine's clock.
  world.clock.setTimer(() => {
    answeredAt = world.clock.now();
    for (const datagram of late) world.network.clients.at(-1)!.deliver(datagram, { host: '127.0.0.1', port: PORT });
  }, SLOW);
  world.network.loses = (bytes, from) => {
    const waits = !from.isClient && answeredAt === Infinity;
    if (waits) late.push(Uint8Array.from(bytes));
    return waits;
  };
  await world.drive(() => heard(world, before).includes('hello'), 'hello');
  const waited = world.clock.now() - answeredAt;
  t.ok(waited < SLOW, `${waited} ms; quiche's own time is three times ${SLOW} ms since the first flight`);
  link.close(OVER);
});

void test('a server without early data, or with none any more, takes it as if it had come late', async (t) => {
  const { world, tickets } = await visited();
  world.listener.prepare(quicOptions(), world.keys)();
  t.ok((await timeToFirstByte(world, tickets)) > 2);
});

void test('a server with another certificate gets nothing of it', async (t) => {
  const { world, tickets } = await visited();
  await world.until(world.listener.close());
  await world.listen(server(), newKeys());
  const before = world.links.length;
  const link = new LinkRecorder(await world.until(world.connect(client(tickets))));
  new StreamRecorder(link.link.open(REQUEST)).stream.write(Buffer.from('hello'));
  await world.drive(() => link.link.state === 'closed', 'the end');
  t.equal(world.links.length, before);
  t.same(heard(world, before), []);
  t.ok((await timeToFirstByte(world, tickets)) >= 5, 'the next attempt is as without a ticket');
});

for (const ending of ['the certificate', 'the user'] as const) {
  void test(`what was written is not sent again to a server with another certificate, when ${ending} ends the link`, async (t) => {
    const { world, link, stream } = await atAnotherServer();
    let [answered, sent] = [false, 0];
    world.network.onSend = (bytes, from) => {
      if (from.isClient && answered) sent += bytes.length;
      if (from.isClient || answered) return;
      // Behind the datagrams that complete the handshake, and before the turn that looks at the certificate.
      world.clock.deliverAfter(DELAY, () =>
        world.clock.deliverAfter(0, () => {
          answered = true;
          if (link.link.state === 'closed') return;
          stream.write(Buffer.alloc(5_000, 'secret'));
          if (ending === 'the user') link.link.close(OVER);
        }),
      );
    };
    await world.drive(() => link.link.state === 'closed', 'the end');
    await world.clock.advance(10 * DELAY);
    t.ok(answered);
    t.ok(sent < FAREWELLS, `${sent} bytes`);
    t.equal(world.failures.filter(({ error }) => /secret/.test(error.message)).length, 0, 'no HELLO has come');
  });
}

for (const ending of ['the certificate', 'the user'] as const) {
  void test(`nor when the handshake’s datagrams come in another order, when ${ending} ends the link`, async (t) => {
    const { world, link, stream } = await atAnotherServer();
    let [answered, sent] = [false, 0];
    world.network.onSend = (bytes, from) => {
      if (from.isClient && answered) sent += bytes.length;
    };
    let held: Uint8Array | null = null;
    // The first comes behind the others, and what is written comes before the turn that looks at the certificate.
    world.network.loses = (bytes, from) => {
      if (from.isClient || held !== null) return false;
      held = Uint8Array.from(bytes);
      world.clock.deliverAfter(DELAY + 1, () => {
        world.network.clients.at(-1)!.deliver(held!, { host: '127.0.0.1', port: PORT });
        answered = true;
        if (link.link.state === 'closed') return;
        stream.write(Buffer.alloc(5_000, 'secret'));
        if (ending === 'the user') link.link.close(OVER);
      });
      return true;
    };
    await world.drive(() => answered && link.link.state === 'closed', 'the end');
    await world.clock.advance(10 * DELAY);
    t.ok(sent < FAREWELLS, `${sent} bytes`);
  });
}

/** A client with a ticket, at a server with another certificate than the ticket's. */
async function atAnotherServer() {
  const { world, tickets } = await visited();
  await world.until(world.listener.close());
  await world.listen(server(), newKeys());
  const link = new LinkRecorder(await world.until(world.connect(client(tickets))));
  const { stream } = new StreamRecorder(link.link.open(REQUEST));
  stream.write(Buffer.from('hello'));
  return { world, link, stream };
}

void test('a server that the client would not trust any more, and a broken ticket, cost nothing', async (t) => {
  const { world, tickets } = await visited();
  const { kept } = tickets;
  let asked = 0;
  const strict = { ...client(tickets), checkServer: () => void (asked++ === 0 ? refuse() : null) };
  await world.until(world.connect(strict)).then((link) => link.close(OVER));
  t.equal(asked, 2);
  tickets.kept = { ...kept!, session: Buffer.from('garbage') };
  t.ok((await timeToFirstByte(world, tickets)) >= 5);
});

void test('off by default: a client keeps and uses no ticket, and a server takes no early data', async (t) => {
  const world = new World();
  await world.listen();
  const link: Link = await world.until(world.connect());
  t.equal(new LinkRecorder(link).link.state, 'up');
  link.close(OVER);
  const tickets = new Tickets();
  world.network.set({ delay: DELAY });
  await timeToFirstByte(world, tickets);
  t.ok((await timeToFirstByte(world, tickets)) >= 5);
});

void test('a server without a secret takes none, whatever it was told', async (t) => {
  const world = new World(1, {}, null);
  await world.listen(quicOptions({ key: null, earlyData: true }));
  const tickets = new Tickets();
  const options = { ...connectOptions({ key: null }), tickets };
  const link = await world.until(world.connect(options));
  link.handler = new LinkRecorder(link);
  await world.clock.advance(10_000);
  link.close(OVER);
  await world.drive(() => link.state === 'closed', 'the end');
  const next = await world.until(world.connect(options));
  t.ok((next as unknown as { connection: { established: boolean } }).connection.established);
  next.close(OVER);
});

function refuse(): never {
  throw new Error('not that one');
}

/** Milliseconds in each direction. */
/** Bytes: CONNECTION_CLOSE, some times, one of them in a full datagram; what was written would be 5,000 more. */
const FAREWELLS = 3_000;
const DELAY = 50;
/** Milliseconds. */
const SLOW = 800;
