import { test } from 'tap';
import { Reminder } from '../../src/quic/reminder.ts';

test('a packet is due after a while, then after twice as long each time, and each second in the end', (t) => {
  const reminder = new Reminder();
  t.equal(reminder.deadline, Infinity);
  t.equal(reminder.poll(1e9), false, 'not before the start');
  reminder.start(1_000);
  const due: number[] = [];
  for (let now = 1_000; now < 11_000; now++) if (reminder.poll(now)) due.push(now - 1_000);
  t.same(due, [250, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000]);
  t.end();
});

test('the first may be due at once', (t) => {
  const reminder = new Reminder();
  reminder.start(1_000, 0);
  t.equal(reminder.deadline, 1_000);
  t.ok(reminder.poll(1_000));
  t.equal(reminder.deadline, 1_250);
  t.end();
});
