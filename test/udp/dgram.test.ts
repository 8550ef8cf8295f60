import dgram from 'node:dgram';
import { test } from 'tap';
import { openDgram } from '../../src/udp/dgram.ts';
import { udpContract } from './contract.ts';

void test('UDP through dgram', (t) => {
  udpContract(t, openDgram);
  t.end();
});

void test('a socket that cannot be used, since the system does not say where it is, is closed, and the error is one of ours', async (t) => {
  const { address } = dgram.Socket.prototype;
  const refused: dgram.Socket[] = [];
  dgram.Socket.prototype.address = function () {
    refused.push(this);
    throw Object.assign(new Error('refused'), { code: 'ENOBUFS' });
  };
  t.teardown(() => (dgram.Socket.prototype.address = address));
  await t.rejects(openDgram({ bind: { host: '127.0.0.1', port: 0 } }), {
    code: 'LINK_LOST',
    message: /cannot be used \(ENOBUFS\)/,
  });
  const [socket] = refused;
  t.throws(() => address.call(socket), /not running/i);
});
