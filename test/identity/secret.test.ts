import { createHmac, randomBytes, scryptSync } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { hmacSha256, loadSecrets, stretchSecret, timingSafeEqual } from '../../src/identity/secret.ts';
import { closeWorkers } from '../../src/identity/workers.ts';

tap.teardown(closeWorkers);

const windows = process.platform === 'win32';

test('a secret comes from itself or not at all', async (t) => {
  t.same(await loadSecrets(' S ', null), { secrets: [' S '], warnings: [] });
  t.same(await loadSecrets(null, null), { secrets: [], warnings: [] });
  for (const secret of ['', '  ', '\n']) await t.rejects(loadSecrets(secret, null), { code: 'SECRET_INVALID' });
  await t.rejects(loadSecrets('S', 'file'), { code: 'CONFIG_INVALID' });
});

test("a secret file's line ends do not count, other space does; a second line is the secret before", async (t) => {
  const file = join(t.testdir(), 'secret');
  for (const [content, secrets] of [
    ['S', ['S']],
    ['S\n', ['S']],
    ['S\r\n', ['S']],
    ['S\n\n', ['S']],
    [' Sü\t\n', [' Sü\t']],
    ['new\nold\n', ['new', 'old']],
    ['new\r\n\r\nold', ['new', 'old']],
  ] as const) {
    writeFileSync(file, content, { mode: 0o600 });
    t.same(await loadSecrets(null, file), { secrets, warnings: [] });
  }
});

test('a secret file without a secret is refused', async (t) => {
  const file = join(t.testdir(), 'secret');
  for (const content of ['', '\n', ' \t\r\n', 'a\nb\nc\n', Buffer.from([0x53, 0xff, 0xfe])]) {
    writeFileSync(file, content);
    await t.rejects(loadSecrets(null, file), { code: 'SECRET_INVALID', message: file });
  }
  await t.rejects(loadSecrets(null, `${file}.none`), { code: 'FILE_UNREADABLE', message: /ENOENT/ });
});

test('a secret file that others can read is reported', { skip: windows && 'Windows has no such modes' }, async (t) => {
  const file = join(t.testdir({ secret: 'S' }), 'secret');
  chmodSync(file, 0o640);
  const { warnings } = await loadSecrets(null, file);
  t.equal(warnings.length, 1);
  t.match(warnings[0], file);
});

test('stretching is the scrypt of the protocol, once per secret', async (t) => {
  const first = stretchSecret('S');
  t.equal(stretchSecret('S'), first);
  const expected = scryptSync('S', 'qtunnel/1', 32, { N: 65_536, r: 8, p: 1, maxmem: 2 ** 27 });
  t.same(Buffer.from(await first), expected);
  t.notSame(Buffer.from(await stretchSecret('T')), expected);
});

test('stretching that failed is tried again', async (t) => {
  const others = ['one', 'another'].map(stretchSecret);
  const again = stretchSecret('cut off');
  await closeWorkers();
  await t.rejects(again, { code: 'INTERNAL' });
  const key = scryptSync('cut off', 'qtunnel/1', 32, { N: 65_536, r: 8, p: 1, maxmem: 2 ** 27 });
  t.equal(hexOf(await stretchSecret('cut off')), hexOf(key));
  await Promise.all(others);
});

test('hmacSha256 joins its parts', async (t) => {
  const key = Buffer.from('key');
  const whole = createHmac('sha256', key).update('abc').digest();
  t.equal(hexOf(hmacSha256(key, Buffer.from('a'), new Uint8Array(), Buffer.from('bc'))), whole.toString('hex'));
  t.not(hexOf(hmacSha256(key, Buffer.from('ab'))), whole.toString('hex'));
});

test('hmacSha256 is HMAC-SHA256 whatever the lengths of key and parts are, and each result is its own', async (t) => {
  const results = new Map<Uint8Array, string>();
  for (const keyLength of [0, 1, 32, 63, 64, 65, 200])
    for (const length of [0, 1, 12, 63, 64, 1400, 1984, 1985, 10_000]) {
      const [key, part, last] = [randomBytes(keyLength), randomBytes(length), randomBytes(5)];
      const expected = createHmac('sha256', key).update(part).update(last).digest('hex');
      results.set(hmacSha256(key, part, last), expected);
    }
  for (const [result, expected] of results) t.equal(hexOf(result), expected);
});

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

test('timingSafeEqual takes any lengths', async (t) => {
  t.ok(timingSafeEqual(Buffer.from('ab'), Buffer.from('ab')));
  t.ok(timingSafeEqual(new Uint8Array(), new Uint8Array()));
  t.notOk(timingSafeEqual(Buffer.from('ab'), Buffer.from('ac')));
  t.notOk(timingSafeEqual(Buffer.from('ab'), Buffer.from('abc')));
});
