import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { parse } from 'yaml';
import { qtunnel } from './command.ts';

test('-check prints the effective settings with the secret masked, and exits 0', async (t) => {
  const { code, stdout, stderr } = await qtunnel(t, [
    '-check',
    '-quic',
    '-secret=hush-hush',
    '-listen=[::1]:443',
    '-idle-timeout=90s',
  ]);
  t.equal(code, 0);
  t.notMatch(stdout + stderr, 'hush-hush');
  t.match(parse(stdout), {
    'log-level': 'info',
    tunnels: {
      default: {
        quic: true,
        secret: '******',
        listen: '[::1]:443',
        'idle-timeout': '90s',
        buffer: '16M',
        'max-connections': 10_000,
      },
    },
  });
  t.equal(
    stderr,
    'qtunnel: warning: -secret: other users of this machine can read it in the process list; use -secret-file or QTUNNEL_SECRET\n',
  );
});

test('what -check prints can be used as a file and means the same', async (t) => {
  const folder = t.testdir();
  const file = path.join(folder, 'tunnels.yaml');
  writeFileSync(
    file,
    'metrics: 127.0.0.1:9090\ndefaults: { quic: true }\ntunnels:\n  a: { listen: ":1", backend: ["127.0.0.1:80", "ssh=127.0.0.1:22"] }\n  b: { clientmode: true, listen: ":2", insecure: true }\n',
  );
  const first = await qtunnel(t, ['-check', `-conf=${file}`]);
  t.equal(first.code, 0, first.stderr);
  t.same(Object.keys((parse(first.stdout) as { tunnels: object }).tunnels), ['a', 'b']);
  writeFileSync(file, first.stdout);
  t.equal((await qtunnel(t, ['-check', `-conf=${file}`])).stdout, first.stdout);
});

test('-check reads the named clients and masks their secrets', async (t) => {
  const file = path.join(t.testdir(), 'tunnels.yaml');
  writeFileSync(file, 'tunnels:\n  a:\n    clients: { laptop: { secret: hush-hush, backends: [a, b], max-connections: 5 } }\n');
  const { code, stdout, stderr } = await qtunnel(t, ['-check', `-conf=${file}`]);
  t.equal(code, 0, stderr);
  t.notMatch(stdout + stderr, 'hush-hush');
  t.match(stdout, '# Clients: laptop.');
  t.match(parse(stdout), {
    tunnels: { a: { clients: { laptop: { secret: '******', backends: ['a', 'b'], 'max-connections': 5 } } } },
  });
  writeFileSync(file, 'tunnels:\n  a:\n    clients: { laptop: { secret-file: none } }\n');
  const missing = await qtunnel(t, ['-check', `-conf=${file}`]);
  t.equal(missing.code, 1);
  t.match(missing.stderr, /The client laptop: .*none cannot be read/);
});

test('-check reads the files and writes none', async (t) => {
  const folder = t.testdir();
  const made = await qtunnel(t, ['-generate-cert', '-cert-host=example.org'], {}, { cwd: folder });
  t.equal(made.code, 0, made.stderr);
  t.same(readdirSync(folder).toSorted(), ['server.crt', 'server.key']);
  const [, fingerprint = ''] = /SHA256:([0-9A-F:]+)/.exec(made.stdout) ?? [];
  writeFileSync(path.join(folder, 'secret'), 'hush-hush\n', { mode: 0o600 });
  const files = ['-cert-file=server.crt', '-key-file=server.key', '-secret-file=secret', '-state-dir=state'];

  const good = await qtunnel(t, ['-check', ...files], {}, { cwd: folder });
  t.equal(good.code, 0, good.stderr);
  t.ok(fingerprint !== '' && good.stdout.includes(fingerprint));
  t.notMatch(good.stdout, 'hush-hush');
  t.same(readdirSync(folder).toSorted(), ['secret', 'server.crt', 'server.key']);

  const bad: [string[], string][] = [
    [['-secret-file=none'], 'none'],
    [['-cert-file=none', '-key-file=server.key'], 'none'],
    [['-cert-file=server.crt', '-key-file=secret'], 'secret'],
    [['-clientmode', '-ca-file=none'], 'none'],
    [['-clientmode', '-ca-file=secret'], 'secret'],
  ];
  for (const [flags, file] of bad) {
    const { code, stdout, stderr } = await qtunnel(t, ['-check', ...flags], {}, { cwd: folder });
    t.equal(code, 1, flags.join(' '));
    t.match(stderr, new RegExp(`^qtunnel: .*\\b${file}\\b.*\n$`));
    t.equal(stdout, '');
  }
});

test('-generate-cert keeps what is there unless it is told -force', async (t) => {
  const folder = t.testdir();
  const words = ['-generate-cert', '-cert-file=a.crt', '-key-file=a.key', '-cert-days=5'];
  t.equal((await qtunnel(t, words, {}, { cwd: folder })).code, 0);
  const before = readFileSync(path.join(folder, 'a.key'), 'utf8');
  const refused = await qtunnel(t, words, {}, { cwd: folder });
  t.equal(refused.code, 1);
  t.match(refused.stderr, /^qtunnel: a\.(key|crt) is there already: give -force .*\n$/);
  t.equal(readFileSync(path.join(folder, 'a.key'), 'utf8'), before);
  t.equal((await qtunnel(t, [...words, '-force'], {}, { cwd: folder })).code, 0);
  t.not(readFileSync(path.join(folder, 'a.key'), 'utf8'), before);
});
