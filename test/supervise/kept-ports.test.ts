import { test } from 'tap';
import { KeptPorts } from '../../src/supervise/kept-ports.ts';
import type { FromChild } from '../../src/supervise/messages.ts';
import { openDgram } from '../../src/udp/dgram.ts';
import type { OpenUdp } from '../../src/udp/socket.ts';
import { onLinux } from '../support/workers.ts';

test('a UDP port that could not be opened in the end is not held: the next attempt gets it', onLinux, async (t) => {
  const told: FromChild[] = [];
  const ports = new KeptPorts((message, _handle, then = () => {}) => {
    told.push(message);
    then();
  });
  ports.begin({ generation: 0, shares: false });
  const first = await ports.openUdp({ bind: { host: '127.0.0.1', port: 0 } }, openDgram);
  const bind = first.address;
  first.close();
  const outOfDescriptors: OpenUdp = async (options) => {
    (await openDgram(options)).close();
    throw new Error('EMFILE');
  };
  await t.rejects(ports.openUdp({ bind }, outOfDescriptors), { message: 'EMFILE' });
  t.same(ports.keys, []);
  const [kept, released] = (['keep', 'release'] as const).map((type) => told.filter((message) => message.type === type).length);
  t.equal(released, kept, 'the supervisor holds it no more');
  const again = await ports.openUdp({ bind }, openDgram);
  t.same(again.address, bind);
  again.close();
});
