import { homedir } from 'node:os';
import { test } from 'tap';
import { type FlagName, FLAGS, findFlag } from '../../src/config/flags.ts';
import { formatValue, parseValue } from '../../src/config/values.ts';

const PRINT = 'ab'.repeat(32);

const GOOD: [FlagName, string, unknown][] = [
  ['listen', ':8080', { host: '', port: 8080 }],
  ['listen', '[::1]:443', { host: '::1', port: 443 }],
  ['listen', '127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
  ['listen', '[fe80::1%eth0]:1', { host: 'fe80::1%eth0', port: 1 }],
  ['backend', 'a-b.example.org:65535', [{ name: '', host: 'a-b.example.org', port: 65535 }]],
  ['backend', 'bücher.example:80', [{ name: '', host: 'bücher.example', port: 80 }]],
  ['backend', ':80', [{ name: '', host: 'localhost', port: 80 }]],
  [
    'backend',
    'ssh=:22, [::1]:80',
    [
      { name: 'ssh', host: 'localhost', port: 22 },
      { name: '', host: '::1', port: 80 },
    ],
  ],
  ['dial-timeout', '500ms', 500],
  ['dial-timeout', '5s', 5000],
  ['dial-timeout', '2m', 120_000],
  ['dial-timeout', '1h', 3_600_000],
  ['dial-timeout', '1m30s', 90_000],
  ['dial-timeout', '1.5s', 1500],
  ['buffer', '64K', 65_536],
  ['buffer', '4m', 4 * 1024 ** 2],
  ['buffer', '1GiB', 1024 ** 3],
  ['buffer', '100000', 100_000],
  ['max-connections', '1000000', 1_000_000],
  ['bandwidth', '100Mbit', 100_000_000],
  ['bandwidth', '1.5gbit', 1_500_000_000],
  ['bandwidth', '8000bit', 8_000],
  ['quic', 'true', true],
  ['congestion', 'reno', 'reno'],
  ['fec', 'auto', 'auto'],
  ['fec', 'off', 'off'],
  ['fec', '100:20', { data: 100, parity: 20 }],
  ['fec', '1:1', { data: 1, parity: 1 }],
  ['pin', PRINT, PRINT],
  ['pin', `SHA256:${PRINT.toUpperCase().match(/../g)?.join(':')}`, PRINT],
  ['cert-host', 'a, b', ['a', 'b']],
  ['secret-file', '~/secret', `${homedir()}/secret`],
  ['logto', 'stderr', 'stderr'],
];

for (const [name, text, value] of GOOD) {
  test(`${name}: ${text}`, (t) => {
    t.same(parseValue(findFlag(name)!, text), { value });
    t.end();
  });
}

const BAD: [FlagName, string, string][] = [
  ['listen', '', 'an address such as :8080, host:443 or [::1]:443'],
  ['listen', '9001', 'an address such as :8080, host:443 or [::1]:443 (:9001 for a port on this machine)'],
  ['listen', 'host', 'an address such as :8080, host:443 or [::1]:443 (the port is missing)'],
  ['listen', '::1', 'an address such as :8080, host:443 or [::1]:443 (an IPv6 address stands in brackets)'],
  ['listen', '[host]:80', 'an address such as :8080, host:443 or [::1]:443 (only an IPv6 address stands in brackets)'],
  ['listen', 'http://host:80', 'an address such as :8080, host:443 or [::1]:443'],
  ['listen', '1.2.3.400:80', 'an address such as :8080, host:443 or [::1]:443'],
  ['listen', 'a b:80', 'an address such as :8080, host:443 or [::1]:443'],
  ['listen', ':65536', 'a port from 0 to 65535'],
  ['backend', 'host:0', 'a port from 1 to 65535'],
  ['metrics', ':0', 'a port from 1 to 65535'],
  ['dial-timeout', '30', 'a duration such as 500ms, 5s, 2m or 1h'],
  ['dial-timeout', '5 s', 'a duration such as 500ms, 5s, 2m or 1h'],
  ['dial-timeout', '-5s', 'a duration such as 500ms, 5s, 2m or 1h'],
  ['dial-timeout', '0s', 'a duration from 1ms to 168h'],
  ['dial-timeout', '169h', 'a duration from 1ms to 168h'],
  ['buffer', '4X', 'a size in bytes such as 65536, 64K, 4M or 1G'],
  ['buffer', '63K', 'a size from 64K to 1G'],
  ['buffer', '2G', 'a size from 64K to 1G'],
  ['max-connections', '0', 'a number from 1 to 1000000'],
  ['max-connections', '1e3', 'a whole number'],
  ['bandwidth', '100M', 'a rate such as 500Kbit, 100Mbit or 1.5Gbit'],
  ['bandwidth', '1Kbit', 'a rate from 8Kbit to 1000Gbit'],
  ['quic', 'yes', 'true or false'],
  ['congestion', 'bbr2', 'bbr, cubic or reno'],
  ...['0:1', '101:1', '10:0', '10:21', '10', '10:1:1', '-1:1', '1.5:1', 'on', '', ' 10:1'].map(
    (text): [FlagName, string, string] => [
      'fec',
      text,
      'auto, off, or P datagrams for each D as D:P (D from 1 to 100, P from 1 to 20)',
    ],
  ),
  ['pin', 'abc', 'a SHA-256 fingerprint of 64 hexadecimal digits'],
  ['cert-host', 'a,,b', 'names with commas between them'],
  ['secret', '', 'at least one character'],
];

for (const [name, text, expected] of BAD) {
  test(`${name}: ${JSON.stringify(text)} is refused`, (t) => {
    t.same(parseValue(findFlag(name)!, text), { expected });
    t.end();
  });
}

test('a relative path is relative to the folder given, the words of -logto are no paths', (t) => {
  t.same(parseValue(findFlag('cert-file')!, 'a/b.crt', '/etc/q'), { value: '/etc/q/a/b.crt' });
  t.same(parseValue(findFlag('cert-file')!, '/b.crt', '/etc/q'), { value: '/b.crt' });
  t.same(parseValue(findFlag('logto')!, 'syslog', '/etc/q'), { value: 'syslog' });
  t.end();
});

test('every default can be read, and is written as it was read', (t) => {
  for (const flag of FLAGS) {
    if (!('default' in flag) || flag.default === null || flag.default === '') continue;
    const parsed = parseValue(flag, flag.default);
    if (!('value' in parsed)) return t.fail(`${flag.name}: ${parsed.expected}`);
    t.equal(String(formatValue(flag, parsed.value)), flag.default);
  }
  t.end();
});
