import { test } from 'tap';
import { batchUdp } from '../../src/udp/batch.ts';
import { udpContract } from './contract.ts';

const open = batchUdp();

void test('UDP in batches', { skip: open === null && 'no koffi, or not Linux' }, (t) => {
  if (open !== null) udpContract(t, open);
  t.end();
});
