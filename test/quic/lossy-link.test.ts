import { test } from 'tap';
import { datagramContract, linkContract, type MakePair } from '../link/contract.ts';
import { driveOn } from '../support/fake-clock.ts';
import { makeWorld, OVER } from './pair.ts';

void test('a QUIC link over a bad network keeps the contract', (t) => {
  const conditions = { delay: 2, loss: 0.01, burst: 2, duplicate: 0.02, reorder: 0.01, corrupt: 0.005 };
  let seed = 0;
  const makePair: MakePair = async (options) => {
    const { world, client, server } = await makeWorld({ seed: seed++, conditions, ...(options && { link: options }) });
    const stop = driveOn(world.clock);
    const pair = { client: client.link, server: server.link };
    const close = async (): Promise<void> => {
      for (const link of [pair.client, pair.server]) link.close(OVER);
      await stop();
    };
    return { ...pair, close };
  };
  linkContract(t, makePair);
  datagramContract(t, makePair);
  t.end();
});
