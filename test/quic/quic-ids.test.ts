import { test } from 'tap';
import { QuicIds } from '../../src/quic/quic-ids.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };

void test('what one side counts is what the other takes', async (t) => {
  for (const [role, other] of [
    ['client', 'server'],
    ['server', 'client'],
  ] as const) {
    const [here, there] = [new QuicIds(role), new QuicIds(other)];
    for (let n = 0; n < 5; n++) {
      const id = here.next();
      t.equal(there.isTold(id), false);
      there.handlePeer(id);
      t.equal(there.isTold(id), true);
    }
  }
});

void test('an id may be passed over, but not used twice, nor later, nor by the other side', async (t) => {
  const ids = new QuicIds('server');
  ids.handlePeer(10);
  for (const id of [10, 6, 2, 0, 3, 11, 12, 13, 16]) t.throws(() => ids.handlePeer(id), violation, `QUIC stream ${id}`);
  ids.handlePeer(14);
});
