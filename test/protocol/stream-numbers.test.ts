import { test } from 'tap';
import { StreamNumbers } from '../../src/protocol/stream-numbers.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };

void test('what one side counts is what the other takes', async (t) => {
  for (const [role, other] of [
    ['client', 'server'],
    ['server', 'client'],
  ] as const) {
    const [here, there] = [new StreamNumbers(role), new StreamNumbers(other)];
    for (let n = 0; n < 5; n++) {
      const id = here.next();
      t.ok(here.isOwn(id) && !there.isOwn(id));
      t.throws(() => there.expectUsed(id), violation);
      there.handlePeer(id);
      there.expectUsed(id);
      here.expectUsed(id);
    }
  }
});

void test('a number may be passed over, but not used twice, nor later, nor by the other side', async (t) => {
  const numbers = new StreamNumbers('server');
  numbers.handlePeer(6);
  for (const id of [6, 4, 2, 0, 1, 7, 2 ** 53 - 1]) t.throws(() => numbers.handlePeer(id), violation, `stream ${id}`);
  numbers.handlePeer(8);
});
