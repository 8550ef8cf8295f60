import { test } from 'tap';
import { keyring } from '../../src/identity/keyring.ts';

const key = (byte: number) => Buffer.alloc(32, byte);

test('without a secret there is no keyring; with one or two there are always two keys', async (t) => {
  t.equal(keyring([]), undefined);
  t.same(
    keyring([key(1), key(2)])?.().map((one) => Buffer.from(one)),
    [key(1), key(2)],
  );
  const [own, nobodys, ...more] = keyring([key(1)])!();
  t.same([own, more], [key(1), []]);
  t.equal(nobodys?.length, 32);
  for (const byte of [0, 1]) t.notSame(Buffer.from(nobodys!), key(byte));
});
