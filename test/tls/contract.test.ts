import { test } from 'tap';
import { datagramContract, linkContract } from '../link/contract.ts';
import { makePair } from './pair.ts';

void test('a TLS link keeps the contract', (t) => {
  linkContract(t, makePair);
  datagramContract(t, makePair);
  t.end();
});

void test('so does one whose streams have a connection each from the beginning', (t) => {
  linkContract(t, (options) => makePair({ ...options, lane: false }));
  t.end();
});
