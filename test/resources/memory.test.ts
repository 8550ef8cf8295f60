import { test } from 'tap';
import { Memory } from '../../src/resources/memory.ts';
import { Room } from '../../src/resources/room.ts';

/** A process that has so many bytes in use, and so many that are garbage besides. */
function machine({ used = 0, garbage = 0 } = {}) {
  const system = { used, garbage, asked: 0, collected: 0, time: 0 };
  const memory = new Memory({
    resident() {
      system.asked++;
      return system.used + system.garbage;
    },
    collect() {
      system.collected++;
      system.garbage = 0;
    },
    now: () => system.time,
  });
  memory.cap = 1000;
  const isShortLater = (): boolean => {
    system.time += 2_000;
    return memory.isShort();
  };
  return { system, memory, isShortLater };
}

test('short from nine tenths on, until below eight', (t) => {
  const { system, isShortLater } = machine({ used: 899 });
  t.equal(isShortLater(), false);
  system.used = 900;
  t.equal(isShortLater(), true);
  system.used = 800;
  t.equal(isShortLater(), true, 'it does not begin anew with each connection that goes');
  system.used = 799;
  t.equal(isShortLater(), false);
  system.used = 899;
  t.equal(isShortLater(), false);
  t.end();
});

test('garbage is collected before memory counts as short, and while it does; not each time', (t) => {
  const { system, memory, isShortLater } = machine({ used: 700, garbage: 250 });
  t.equal(isShortLater(), false);
  t.equal(system.collected, 1);
  t.equal(isShortLater(), false);
  t.equal(system.collected, 1, 'only when there is reason to');
  system.used = 950;
  t.equal(isShortLater(), true);
  t.equal(system.collected, 2);
  system.time += 100;
  t.equal(memory.isShort(), true);
  t.equal(system.collected, 2, 'that holds everything up');
  system.used = 700;
  system.garbage = 250;
  t.equal(isShortLater(), false, 'nobody else would have collected what the connections have left behind');
  t.end();
});

test('the system is asked ten times a second at most, and never without a cap', (t) => {
  const { system, memory } = machine({ used: 500 });
  system.time = 1_000;
  for (let n = 0; n < 1000; n++) memory.isShort();
  t.equal(system.asked, 1);
  system.time += 100;
  memory.isShort();
  t.equal(system.asked, 2);
  memory.cap = Infinity;
  system.time += 100;
  t.equal(memory.isShort(), false);
  t.equal(system.asked, 2);
  t.end();
});

test('what is said of it: how much, of how much, and what to do', (t) => {
  const { system, memory } = machine({ used: 243 * 2 ** 20 });
  memory.cap = 256 * 2 ** 20;
  const room = new Room(undefined, memory);
  t.match(room.memoryShortage(), { resource: 'memory', message: /has 243M of the 256M of memory.*-max-memory.*-buffer/ });
  system.used = 0;
  system.time = 2_000;
  t.equal(room.memoryShortage(), null);
  t.end();
});

test('the real calls: a process has memory, and garbage of it can be collected', (t) => {
  const memory = new Memory();
  memory.cap = 1;
  t.equal(memory.isShort(), true);
  t.ok(memory.resident > 2 ** 20);
  t.end();
});
