import { test } from 'tap';
import { ByteReader, fromHex, toHex } from '../../src/protocol/bytes.ts';
import { encodeEndpoints, proxyHeader, readEndpoints } from '../../src/protocol/proxy-protocol.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';

// haproxy's proxy-protocol.txt, §2.2: signature, version and command, family, length, addresses, ports.
const HEADERS: [string, string, string, string][] = [
  ['IPv4', '192.0.2.1', '198.51.100.2', '2111000cc0000201c6336402'],
  ['IPv4 in the clothes of IPv6', '::ffff:192.0.2.1', '::ffff:198.51.100.2', '2111000cc0000201c6336402'],
  ['IPv6', '2001:db8::1', '::1', `21210024${'20010db8'}${'0'.repeat(22)}01${'0'.repeat(30)}01`],
  ['IPv6 with a zone', 'fe80::1%eth0', 'fe80::2%eth0', `21210024fe80${'0'.repeat(26)}01${''}fe80${'0'.repeat(26)}02`],
  ['one of each', '192.0.2.1', '2001:db8::2', `21210024${'0'.repeat(20)}ffffc000020120010db8${'0'.repeat(22)}02`],
];

for (const [name, source, destination, expected] of HEADERS) {
  test(`the header for ${name}`, async (t) => {
    const endpoints = encodeEndpoints({ host: source, port: 0x1234 }, { host: destination, port: 443 });
    t.equal(toHex(proxyHeader(endpoints)), `${SIGNATURE}${expected}123401bb`);
    const read = readEndpoints(new ByteReader(Uint8Array.of(...endpoints, 1, 2)));
    t.equal(toHex(read!), toHex(endpoints), 'as a message carries it');
    for (let length = 1; length < endpoints.length; length++)
      t.throws(() => readEndpoints(new ByteReader(endpoints.subarray(0, length))), { code: 'PROTOCOL_VIOLATION' });
  });
}

test('nothing is known of the connection: LOCAL', async (t) => {
  t.equal(toHex(proxyHeader(null)), `${SIGNATURE}20000000`);
  t.equal(readEndpoints(new ByteReader(new Uint8Array(0))), null);
  t.equal(readEndpoints(new ByteReader(fromHex('31aabb'))), null, 'a family that this version does not know');
});
