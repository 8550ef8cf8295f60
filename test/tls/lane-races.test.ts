import { test } from 'tap';
import { race, TROUBLES } from './simulated/race.ts';
import { play } from './simulated/scene.ts';

const WINDOW = 65_536;
const SEEDS = 50;
/** Bytes on the way on a connection, so that the others wait at its sender. */
const NARROW = { capacity: 1_000 };

for (const [what, trouble] of TROUBLES) {
  void test(`streams of all shapes and ${what}, in ${SEEDS} orders of events: all is whole or reset, and nothing is left`, (t) => {
    let bytes = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        bytes += race(seed, trouble).bytes;
      } catch (error) {
        t.fail(`seed ${seed}: ${(error as Error).message}`);
      }
    }
    t.ok(bytes > 0);
    t.end();
  });
}

void test('a reset’s reason is heard though the connection that comes too late for the stream is faster', (t) => {
  play(({ pair, here, there, pass, hold }) => {
    hold(pair.control.client);
    t.ok(here.writeBulk(100_000) > 0, 'on a connection of its own');
    there.stream.reset('DIAL_REFUSED', 'nobody');
    pass();
    t.strictSame(here.resets, []);
    hold();
    pass();
    t.strictSame(here.resets, ['DIAL_REFUSED nobody']);
    t.equal(pair.client.connections, pair.server.connections);
    t.equal(pair.server.connections, pair.server.idle + 1);
  });
  t.end();
});

void test('a stream whose credit comes while the control connection has no room goes on when it has', (t) => {
  play(({ pair, here, there, open, pass, hold }) => {
    there.holding = true;
    t.equal(here.write(WINDOW), WINDOW - 1, 'and one byte before');
    pass();
    // Credit is on its way, and more waits at the client than the connection takes.
    hold(pair.control.client);
    there.release();
    pass();
    for (let others = 4; others > 0; others--) {
      open().write(WINDOW);
      pass();
    }
    for (let others = 40; others > 0; others--) open();
    t.equal(open().write(1), 0, 'no room');
    hold(pair.control.server);
    pass();
    t.equal(here.writable, 0);
    hold();
    pass();
    t.equal(here.writable, 1);
    t.ok(here.write(1000) > 0);
  }, NARROW);
  t.end();
});

void test('a link that drains waits until the server knows of the connection that a stream has ended on', (t) => {
  play(({ pair, here, there, pass, hold }) => {
    there.stream.end();
    pass();
    hold(...pair.wires.slice(1).map(({ server }) => server));
    const sent = here.writeBulk(100_000);
    here.stream.end();
    pass();
    t.ok(here.ended);
    pair.client.drain();
    pass();
    t.strictSame([pair.client.state, pair.client.streams], ['draining', 1]);
    hold();
    pass();
    t.strictSame([there.received, there.ended, there.resets], [sent + 1, true, []]);
    t.strictSame([pair.client.state, pair.server.state], ['closed', 'closed']);
  });
  t.end();
});

void test('a stream whose connection is lost before the server knew of it is reset at both ends, though the client had said all', (t) => {
  play(({ pair, here, there, pass, hold }) => {
    there.stream.end();
    pass();
    hold(...pair.wires.slice(1).map(({ server }) => server));
    here.writeBulk(100_000);
    here.stream.end();
    pass();
    for (const { client } of pair.wires.slice(1)) client.breakOff(false);
    hold();
    pass();
    t.strictSame([here.ended, here.resets.length, there.ended, there.resets.length], [true, 1, false, 1]);
    t.strictSame([pair.client.streams, pair.server.streams], [0, 0]);
  });
  t.end();
});

void test('a link that drains closes as soon as the other side has sent what was before, however much that was', (t) => {
  play(
    ({ pair, here, there, pass, hold }) => {
      hold(pair.control.client);
      there.write(WINDOW);
      pass();
      hold();
      here.stream.reset('RESET', 'enough');
      pair.client.drain();
      pass();
      t.strictSame([pair.client.state, pair.server.state], ['closed', 'closed']);
    },
    { ...NARROW, serverOpens: false },
  );
  t.end();
});

for (const side of ['client', 'server'] as const) {
  void test(`a reset of the ${side}’s that meets the end of the stream on its connection is no mistake of the ${side}’s, and concerns no other stream`, (t) => {
    play(({ pair, here, there, open, pass, hold }) => {
      here.writeBulk(100_000);
      pass();
      const [first, last] = side === 'client' ? [here, there] : [there, here];
      const own = pair.wires.slice(1).map((wire) => wire[side]);
      // The other side has heard the end and said its own, which has not come when this side resets the stream.
      first.stream.end();
      pass();
      t.ok(last.ended);
      hold(...own);
      last.stream.end();
      pass();
      first.stream.reset('RESET', 'after its end');
      hold();
      pass();
      t.strictSame(pair.blames, []);
      t.strictSame(last.resets, []);
      t.strictSame([pair.client.streams, pair.server.streams], [0, 0]);
      const next = open();
      next.writeBulk(100_000);
      pass();
      t.strictSame(next.resets, []);
      t.equal(pair.server.connections, pair.client.connections);
    });
    t.end();
  });
}
