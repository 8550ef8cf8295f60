import { test } from 'tap';
import { openDgram } from '../../src/udp/dgram.ts';
import { udpContract } from './contract.ts';

void test('UDP through dgram', (t) => {
  udpContract(t, openDgram);
  t.end();
});
