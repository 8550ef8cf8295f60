import { test } from 'tap';
import { Descriptors } from '../../src/resources/descriptors.ts';

function machine({ limit = 100, free = 30 } = {}) {
  const system = { limit, free, asked: 0, time: 0 };
  const descriptors = new Descriptors({
    limit: () => system.limit,
    lowestFree() {
      system.asked++;
      if (system.free >= system.limit) throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' });
      return system.free;
    },
    now: () => system.time,
  });
  return { system, descriptors };
}

test('the last ones are kept: an eighth, at most 64', (t) => {
  const { descriptors } = machine();
  t.equal(descriptors.isTooMany(87), false);
  t.equal(descriptors.isTooMany(88), true);
  t.equal(descriptors.reserve, 12);
  const large = machine({ limit: 65_536 }).descriptors;
  t.equal(large.isTooMany(65_536 - 65), false);
  t.equal(large.isTooMany(65_536 - 64), true);
  t.end();
});

test('the system is asked only once there were none', (t) => {
  const { system, descriptors } = machine();
  t.equal(descriptors.areShort(), false);
  t.equal(system.asked, 0);
  descriptors.isTooMany(90);
  system.free = 88;
  t.equal(descriptors.areShort(), true);
  system.free = 100;
  t.equal(descriptors.areShort(), true, 'not even one');
  system.free = 87;
  t.equal(descriptors.areShort(), false);
  system.free = 99;
  t.equal(descriptors.areShort(), false, 'not asked again');
  descriptors.handleRefusal();
  t.equal(descriptors.areShort(), true);
  t.end();
});

test('the limit may be raised while the process runs; where it is not known, none is kept', (t) => {
  const { system, descriptors } = machine();
  t.equal(descriptors.isTooMany(90), true);
  system.limit = 1000;
  t.equal(descriptors.isTooMany(90), true);
  system.time = 5_000;
  t.equal(descriptors.isTooMany(90), false);
  t.equal(machine({ limit: Infinity }).descriptors.isTooMany(1e6), false);
  t.end();
});
