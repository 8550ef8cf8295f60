import { test } from 'tap';
import { StreamIds } from '../../src/quic/stream-ids.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };

void test('what one side counts is what the other takes', async (t) => {
  for (const [role, other] of [
    ['client', 'server'],
    ['server', 'client'],
  ] as const) {
    const [here, there] = [new StreamIds(role), new StreamIds(other)];
    for (let n = 0; n < 5; n++) {
      const [id, quicId] = [here.nextOwn(), here.nextOwnQuic()];
      t.ok(here.isOwn(id) && !there.isOwn(id));
      t.throws(() => there.expectUsed(id), violation);
      t.equal(there.isPeerQuic(quicId), false);
      there.handlePeer(id);
      there.handlePeerQuic(quicId);
      there.expectUsed(id);
      here.expectUsed(id);
      t.equal(there.isPeerQuic(quicId), true);
    }
  }
});

void test('a number may be passed over, but not used twice, nor later, nor by the other side', async (t) => {
  const ids = new StreamIds('server');
  ids.handlePeer(6);
  ids.handlePeerQuic(10);
  for (const id of [6, 4, 2, 0, 1, 7, 2 ** 53 - 1]) t.throws(() => ids.handlePeer(id), violation, `stream ${id}`);
  for (const id of [10, 6, 2, 0, 3, 11, 12, 13, 16]) t.throws(() => ids.handlePeerQuic(id), violation, `QUIC stream ${id}`);
  ids.handlePeer(8);
  ids.handlePeerQuic(14);
});
