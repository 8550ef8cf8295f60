import { test } from 'tap';
import { fingerprint, formatFingerprint, parseFingerprint } from '../../src/identity/fingerprint.ts';

// FIPS 180-2, appendix B.1.
const HEX = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

test('a fingerprint is the SHA-256 in lower-case hexadecimal digits', async (t) => {
  t.equal(fingerprint(Buffer.from('abc')), HEX);
});

test('every way to write a fingerprint reads as the same', async (t) => {
  const readable = formatFingerprint(HEX);
  t.match(readable, /^SHA256:BA:78:16:.*:AD$/);
  for (const text of [HEX, HEX.toUpperCase(), readable, readable.toLowerCase(), readable.slice(7), `sha256:${HEX}`, ` ${HEX}\n`]) {
    t.equal(parseFingerprint(text), HEX, text);
  }
});

test('what is not a fingerprint is refused', async (t) => {
  for (const text of [
    '',
    'SHA256:',
    HEX.slice(1),
    `${HEX}0`,
    HEX.replace('b', 'g'),
    `:${HEX}`,
    HEX.replace('78', ':7'),
    `md5:${HEX}`,
  ]) {
    t.throws(() => parseFingerprint(text), { name: 'QtunnelError', code: 'CONFIG_INVALID' }, text);
  }
});
