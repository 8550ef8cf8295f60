import { test } from 'tap';
import { settingsFromOptions, type TunnelOptions } from '../../src/config/options.ts';

test('options take their own type or the text of the command line', (t) => {
  const asText = settingsFromOptions({
    clientmode: true,
    backend: 'host:443',
    idleTimeout: '5s',
    buffer: '64K',
    maxConnections: '7',
  });
  const asValues = settingsFromOptions({
    clientmode: true,
    backend: { host: 'host', port: 443 },
    idleTimeout: 5000,
    buffer: 65_536,
    maxConnections: 7,
    secret: null,
    pin: undefined,
  });
  t.same(asText, asValues);
  t.match(asText, { tag: 'default', idleTimeout: 5000, backend: { host: 'host', port: 443 }, buffer: 65_536, maxConnections: 7 });
  t.equal(settingsFromOptions({ tag: 'web', listen: { host: '::1', port: 0 } }).listen.host, '::1');
  t.end();
});

test('the environment is not read', (t) => {
  process.env['QTUNNEL_QUIC'] = 'true';
  t.teardown(() => delete process.env['QTUNNEL_QUIC']);
  t.equal(settingsFromOptions({}).quic, false);
  t.end();
});

const REFUSED: [Record<string, unknown>, string][] = [
  [{ idleTimeout: -1 }, 'idleTimeout: expected a duration such as 500ms, 5s, 2m or 1h, got "-1ms"'],
  [
    { listen: 9001 },
    'listen: expected an address such as :8080, host:443 or [::1]:443 (:9001 for a port on this machine), got "9001"',
  ],
  [{ listen: { port: 1 } }, 'listen: expected { host, port } or text such as \'host:443\', got {"port":1}'],
  [{ listne: ':1' }, 'listne is not an option; did you mean listen?'],
  [{ quic: 1 }, 'quic: expected true or false, got "1"'],
  [{ secret: { a: 'hush' } }, 'secret: expected text, got a value of another type'],
  [{ secret: 'a', secretFile: 'b' }, 'secret and secretFile contradict each other: give the secret once'],
  [{ clientmode: true, transport: 'auto', quic: false }, 'transport chooses between QUIC and TLS: add quic'],
  [
    { clientmode: true, quic: true, transport: 'auto', fallback: false },
    'transport chooses between QUIC and TLS, and fallback leaves QUIC only',
  ],
  [{ certFile: 'b' }, "certFile needs the certificate's private key: add key-file"],
  [{ pin: 'ab'.repeat(32) }, 'pin is for a client, and this tunnel is a server: add -clientmode, or leave it out'],
];

for (const [options, message] of REFUSED) {
  test(`refused: ${message}`, (t) => {
    t.throws(() => settingsFromOptions(options as TunnelOptions), { code: 'CONFIG_INVALID', message });
    t.end();
  });
}
