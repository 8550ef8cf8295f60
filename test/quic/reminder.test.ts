import { test } from 'tap';
import { Reminder } from '../../src/quic/reminder.ts';

test('a packet is due at once, then after twice as long each time, and each second in the end', (t) => {
  const reminder = new Reminder();
  t.equal(reminder.deadline, Infinity);
  t.equal(reminder.poll(1e9), false, 'not before the start');
  reminder.start(1_000);
  const due: number[] = [];
  for (let now = 1_000; now < 11_000; now++) {
    const { deadline } = reminder;
    if (reminder.poll(now)) due.push(deadline - 1_000);
  }
  t.same(due, [0, 250, 750, 1_750, 2_750, 3_750, 4_750, 5_750, 6_750, 7_750, 8_750, 9_750]);
  t.end();
});
