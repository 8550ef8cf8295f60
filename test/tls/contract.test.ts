import { test } from 'tap';
import { linkContract } from '../link/contract.ts';
import { makePair } from './pair.ts';

void test('a TLS link keeps the contract', (t) => {
  linkContract(t, makePair);
  t.end();
});
