import { Socket } from 'node:net';
import { test } from 'tap';
import { type Room, type Shortage } from '../../src/resources/room.ts';
import { Shedding } from '../../src/tunnel/shedding.ts';
import { watched } from './tunnels.ts';

test('one line for the first, one with the count every ten seconds, one when it is over', (t) => {
  const room: { short: Shortage | null } = { short: null };
  const clock = { time: 0 };
  const { context, metrics, lines } = watched();
  const shedding = new Shedding(
    {
      memoryShortage: () => null,
      descriptorShortageFor: () => room.short,
      descriptorShortage: () => room.short,
    } as unknown as Room,
    context,
    () => clock.time,
  );
  const socket = new Socket();
  t.equal(shedding.refuse(socket), null);
  room.short = { resource: 'descriptors', message: 'none left' };
  for (let n = 0; n < 50; n++) t.equal(shedding.refuse(socket), room.short);
  t.same(
    lines.map(({ msg }) => msg),
    ['a new connection was refused, open ones go on: none left'],
  );
  clock.time = 10_000;
  shedding.refuseToMake();
  t.match(lines[1], { event: 'shed', resource: 'descriptors', count: 50 });
  room.short = null;
  clock.time = 11_000;
  t.equal(shedding.refuse(socket), null);
  t.equal(lines.length, 2, 'at the limit one is taken whenever another goes');
  clock.time = 12_500;
  shedding.refuse(socket);
  t.match(lines[2], { event: 'shed_over', count: 51 });
  shedding.refuse(socket);
  t.equal(lines.length, 3);
  t.same([...metrics.shed], [['descriptors', 51]]);
  t.end();
});

test('what needs memory is refused without it; a socket of something that was taken already is not', (t) => {
  const { context, metrics } = watched();
  const memory: Shortage = { resource: 'memory', message: 'full' };
  const shedding = new Shedding(
    { memoryShortage: () => memory, descriptorShortageFor: () => null, descriptorShortage: () => null } as unknown as Room,
    context,
  );
  const socket = new Socket();
  t.equal(shedding.refuse(socket), memory);
  t.equal(shedding.refuseToMake(), memory);
  t.equal(shedding.refuseLink(), memory);
  t.equal(shedding.refuseSocket(socket), null);
  t.same([...metrics.shed], [['memory', 3]]);
  t.end();
});
