import { test } from 'tap';
import { keyring } from '../../src/identity/keyring.ts';

const key = (byte: number) => Buffer.alloc(32, byte);

test('without a secret there is no keyring; with one or two there are always two keys', async (t) => {
  t.equal(keyring([], null), undefined);
  t.same(
    keyring([key(1), key(2)], null)?.('').map((one) => Buffer.from(one!)),
    [key(1), key(2)],
  );
  const [own, nobodys, ...more] = keyring([key(1)], null)!('');
  t.same([own, more], [key(1), []]);
  t.equal(nobodys?.length, 32);
  for (const byte of [0, 1]) t.notSame(Buffer.from(nobodys!), key(byte));
});

test('named clients have keys of their own; a name that nobody has gets as many that nobody has', async (t) => {
  const keysOf = keyring(
    [key(1)],
    new Map([
      ['laptop', [key(2)]],
      ['phone', [key(3), key(4)]],
    ]),
  )!;
  t.same(Buffer.from(keysOf('laptop')[0]!), key(2));
  t.same(
    keysOf('phone').map((one) => Buffer.from(one!)),
    [key(3), key(4)],
  );
  t.same(Buffer.from(keysOf('')[0]!), key(1));
  for (const name of ['', 'laptop', 'phone', 'nobody', 'constructor']) t.equal(keysOf(name).length, 2, name);
  const known = [1, 2, 3, 4].map((byte) => key(byte).toString('hex'));
  for (const one of [...keysOf('nobody'), keysOf('laptop')[1]!]) t.notOk(known.includes(Buffer.from(one!).toString('hex')));
  const named = keyring([], new Map())!;
  t.not(named, undefined, 'without a secret and with no clients nobody is let in');
  t.equal(named('').length, 2);
});

test('a client without a secret of its own has that of those without a name, or needs none', async (t) => {
  const clients = new Map([
    ['laptop', []],
    ['phone', [key(2)]],
  ]);
  t.same(Buffer.from(keyring([key(1)], clients)!('laptop')[0]!), key(1));
  const keysOf = keyring([], clients)!;
  t.equal(keysOf('laptop')[0], null);
  for (const name of ['', 'phone', 'nobody']) t.notOk(keysOf(name).includes(null), name);
});
