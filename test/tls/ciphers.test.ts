import { once } from 'node:events';
import { connect } from 'node:tls';
import { test } from 'tap';
import { ALPN } from '../../src/protocol/handshake.ts';
import { cipherOrder } from '../../src/tls/ciphers.ts';
import { listenHere } from './pair.ts';

void test('all of TLS 1.3’s usual suites are offered, in the same order each time', (t) => {
  const suites = cipherOrder().split(':');
  t.strictSame(suites.toSorted(), ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']);
  t.ok(suites.indexOf('TLS_AES_128_GCM_SHA256') < suites.indexOf('TLS_AES_256_GCM_SHA384'));
  t.equal(cipherOrder(), suites.join(':'));
  t.end();
});

void test('the server’s order counts, unless the client wants ChaCha20 first', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const [chacha, ...aes] = ['TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'];
  const cases = [
    { client: [chacha, ...aes], agreed: chacha },
    { client: [...aes, chacha], agreed: cipherOrder().split(':')[0] },
  ];
  for (const { client, agreed } of cases) {
    const options = { host: '127.0.0.1', port: listener.address.port, rejectUnauthorized: false, ALPNProtocols: [ALPN] };
    const socket = connect({ ...options, ciphers: client.join(':') });
    t.teardown(() => socket.destroy());
    await once(socket, 'secureConnect');
    t.equal(socket.getCipher().name, agreed);
  }
});
