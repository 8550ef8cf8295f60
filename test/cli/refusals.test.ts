import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { qtunnel } from './command.ts';

const PIN = 'ab'.repeat(32);
const ADDRESS = 'an address such as :8080, host:443 or [::1]:443';
const SERVER = 'is for a client, and this tunnel is a server';

/** The command line and the sentence on standard error; exit 2. */
const REFUSED: [string[], string][] = [
  [['-lisen=:1'], 'unknown flag -lisen; did you mean -listen?'],
  [['--clientmod'], 'unknown flag -clientmod; did you mean -clientmode?'],
  [['-xyzzy'], 'unknown flag -xyzzy; see qtunnel -help'],
  [['-no-quic'], 'unknown flag -no-quic; see qtunnel -help'],
  [['-q'], 'unknown flag -q; see qtunnel -help'],
  [['-listen.a=1'], 'unknown flag -listen.a; did you mean -listen?'],
  [['-idleTimeout=5s'], 'unknown flag -idleTimeout; did you mean -idle-timeout?'],

  [['start'], 'unexpected word "start": flags begin with a dash, see qtunnel -help'],
  [['hubb', '-listen=:1'], 'unexpected word "hubb"; did you mean qtunnel hub?'],
  [['mappings'], 'unexpected word "mappings"; did you mean qtunnel mapping?'],
  [['stats'], 'unexpected word "stats"; did you mean qtunnel status?'],
  [['listen=:1'], 'unexpected word "listen=:1": did you mean -listen=:1?'],
  [['-'], 'unexpected word "-": flags begin with a dash, see qtunnel -help'],
  [['--', '-quic'], 'unexpected word "-quic": flags begin with a dash, see qtunnel -help'],
  [['-quic', 'false'], 'unexpected word "false": -quic takes its value after an equals sign, -quic=true or -quic=false'],
  [
    ['-quic', '-clientmode', 'true'],
    'unexpected word "true": -clientmode takes its value after an equals sign, -clientmode=true or -clientmode=false',
  ],
  [['-listen', ':1', ':2'], 'unexpected word ":2": flags begin with a dash, see qtunnel -help'],

  [['-listen'], '-listen needs a value, as in -listen=HOST:PORT'],
  [['-secret', '-quic'], '-secret needs a value, and the next word is the flag -quic: write -secret=TEXT'],
  [['-secret='], '-secret is empty: give it a value, or leave it out'],
  [['-listen=:1', '--listen', ':2'], '-listen is given twice: give it once'],
  [['-quic', '-quic', '-quic=false'], '-quic is given 3 times: give it once'],

  [['-quic=yes'], '-quic: expected true or false, got "yes"'],
  [['-quic='], '-quic: expected true or false, got ""'],
  [['-listen=9001'], `-listen: expected ${ADDRESS} (:9001 for a port on this machine), got "9001"`],
  [['-listen=:99999'], '-listen: expected a port from 0 to 65535, got ":99999"'],
  [['-backend=host:0'], '-backend: expected a port from 1 to 65535, got "host:0"'],
  [['-backend=host'], `-backend: expected ${ADDRESS} (the port is missing), got "host"`],
  [['-backend', '::1'], `-backend: expected ${ADDRESS} (an IPv6 address stands in brackets), got "::1"`],
  [['-metrics=:0'], '-metrics: expected a port from 1 to 65535, got ":0"'],
  [['-congestion=vegas'], '-congestion: expected bbr, cubic or reno, got "vegas"'],
  [['-idle-timeout=30'], '-idle-timeout: expected a duration such as 500ms, 5s, 2m or 1h, got "30"'],
  [['-dial-timeout=0s'], '-dial-timeout: expected a duration from 1ms to 168h, got "0s"'],
  [['-drain-timeout=1d'], '-drain-timeout: expected a duration such as 500ms, 5s, 2m or 1h, got "1d"'],
  [['-keepalive=30s'], '-keepalive: expected less than idle-timeout\'s 30s, got "30s"'],
  [['-idle-timeout=1s'], '-idle-timeout: expected more than keepalive\'s 1s, got "1s"'],
  [['-max-connections=0'], '-max-connections: expected a number from 1 to 1000000, got "0"'],
  [['-max-connections=-1'], '-max-connections: expected a whole number, got "-1"'],
  [['-buffer=4X'], '-buffer: expected a size in bytes such as 65536, 64K, 4M or 1G, got "4X"'],
  [['-buffer=1K'], '-buffer: expected a size from 64K to 1G, got "1K"'],
  [['-pin=abc', '-clientmode'], '-pin: expected a SHA-256 fingerprint of 64 hexadecimal digits, got "abc"'],
  [['-log-level=loud'], '-log-level: expected trace, debug, info, warn, error or silent, got "loud"'],
  [['-log-format=xml'], '-log-format: expected pretty or json, got "xml"'],
  [['-cert-days=0', '-generate-cert'], '-cert-days: expected a number from 1 to 36500, got "0"'],

  [[`-pin=${PIN}`], `-pin ${SERVER}: add -clientmode, or leave it out`],
  [['-ca-file=ca.crt'], `-ca-file ${SERVER}: add -clientmode, or leave it out`],
  [['-known-hosts=k'], `-known-hosts ${SERVER}: add -clientmode, or leave it out`],
  [['-insecure'], `-insecure ${SERVER}: a server trusts nobody by certificate; add -clientmode, or leave it out`],
  [['-clientmode', '-client-ca=a'], '-client-ca is for a server, and this tunnel is a client: leave it out'],
  [['-clientmode', '-max-handshakes=5'], '-max-handshakes is for a server, and this tunnel is a client: leave it out'],
  [['-handshake-datagrams=3'], '-handshake-datagrams: expected a number from 4 to 10000, got "3"'],
  [['-early-data', '-secret=a'], '-early-data is about QUIC: add quic'],
  [['-early-data', '-quic'], '-early-data is safe between sides that share a secret: add secret-file'],
  [['-cert-file=a'], "-cert-file needs the certificate's private key: add key-file"],
  [['-key-file=a'], '-key-file needs the certificate that belongs to it: add cert-file'],
  [['-secret=a', '-secret-file=b'], '-secret and -secret-file contradict each other: give the secret once'],
  [
    ['-clientmode', '-insecure', `-pin=${PIN}`],
    '-insecure and -pin contradict each other: the one trusts everybody, the other a single certificate',
  ],
  [
    ['-clientmode', '-insecure', '-ca-file=a'],
    '-insecure and -ca-file contradict each other: the one trusts everybody, the other whom a CA has signed',
  ],
  [['-tag=a'], '-tag picks tunnels of a file: add -conf=FILE, or leave it out'],
  [['-force'], '-force is for -generate-cert: add it, or leave -force out'],
  [['-cert-host=a', '-cert-host=b'], '-cert-host is for -generate-cert: add it, or leave -cert-host out'],
  [['-cert-days=5'], '-cert-days is for -generate-cert: add it, or leave -cert-days out'],
  [
    ['-generate-cert', '-listen=:1'],
    '-listen means nothing with -generate-cert, which writes a certificate and exits: leave one of them out',
  ],
  [
    ['-generate-cert', '-check'],
    '-check means nothing with -generate-cert, which writes a certificate and exits: leave one of them out',
  ],
];

for (const [words, sentence] of REFUSED) {
  test(`qtunnel ${words.join(' ')}`, async (t) => {
    const { code, stdout, stderr } = await qtunnel(t, words);
    t.equal(stderr, `qtunnel: ${sentence}\n`);
    t.equal(stdout, '');
    t.equal(code, 2);
  });
}

const IN_ENVIRONMENT: [Record<string, string>, string][] = [
  [{ QTUNNEL_LISTEN: 'x' }, `QTUNNEL_LISTEN: expected ${ADDRESS} (the port is missing), got "x"`],
  [{ QTUNNEL_SECRET: '' }, 'QTUNNEL_SECRET is empty: give it the secret, or unset it to run without one'],
  [{ QTUNNEL_PIN: PIN }, `QTUNNEL_PIN ${SERVER}: add -clientmode, or leave it out`],
];

for (const [environment, sentence] of IN_ENVIRONMENT) {
  test(`in the environment: ${Object.entries(environment).join()}`, async (t) => {
    const { code, stderr } = await qtunnel(t, [], environment);
    t.equal(stderr, `qtunnel: ${sentence}\n`);
    t.equal(code, 2);
  });
}

test('a wrong file is named with its line, exit 2; one that is not there, exit 1', async (t) => {
  const folder = t.testdir();
  writeFileSync(path.join(folder, 'tunnels.yaml'), 'tunnels:\n  web:\n    lisen: ":1"\n');
  const wrong = await qtunnel(t, ['-conf=tunnels.yaml'], {}, { cwd: folder });
  t.match(wrong, { code: 2, stderr: 'qtunnel: tunnels.yaml:3: lisen: unknown key; did you mean listen?\n' });
  const missing = await qtunnel(t, ['-conf=none.yaml'], {}, { cwd: folder });
  t.match(missing, {
    code: 1,
    stderr: 'qtunnel: -conf: the file none.yaml cannot be read (ENOENT): check the path and its permissions\n',
  });
});

test('a stack trace only at -log-level=debug', async (t) => {
  const { stderr, code } = await qtunnel(t, ['-lisen=:1', '-log-level=debug']);
  t.match(stderr, /^qtunnel: unknown flag -lisen; did you mean -listen\?\nQtunnelError: .*\n +at /);
  t.equal(code, 2);
});

test('a log file that cannot be written: exit 1 and what to do', async (t) => {
  const { stderr, code } = await qtunnel(t, ['-logto=none/q.log'], {}, { cwd: t.testdir() });
  t.equal(stderr, 'qtunnel: -logto: the log file none/q.log cannot be written (ENOENT): name another, or stderr\n');
  t.equal(code, 1);
});
