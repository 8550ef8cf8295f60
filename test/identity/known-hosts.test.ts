import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import { formatFingerprint } from '../../src/identity/fingerprint.ts';
import { KnownHosts } from '../../src/identity/known-hosts.ts';

const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);
const windows = process.platform === 'win32';

test('a server is remembered by name and port', async (t) => {
  const file = join(t.testdir(), 'deep', 'known_hosts');
  const known = new KnownHosts(file);
  t.equal(known.recognise('Tunnel.example', 9001, A), false);
  t.equal(known.recognise('tunnel.EXAMPLE', 9001, A), true);
  t.equal(known.recognise('tunnel.example', 9002, B), false);
  t.equal(known.recognise('::1', 9001, B), false);
  t.equal(known.recognise('::1', 9001, B), true);
  t.equal(
    readFileSync(file, 'utf8'),
    `tunnel.example:9001 ${formatFingerprint(A)}\ntunnel.example:9002 ${formatFingerprint(B)}\n[::1]:9001 ${formatFingerprint(B)}\n`,
  );
  if (windows) return;
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.equal(statSync(join(file, '..')).mode & 0o777, 0o700);
});

test('comments, unknown lines and a missing last line end are kept', async (t) => {
  const before = `# mine\n\nsomething else altogether\nold.example:1   ${A}   a comment`;
  const file = join(t.testdir({ known_hosts: before }), 'known_hosts');
  const known = new KnownHosts(file);
  t.equal(known.recognise('old.example', 1, A), true);
  t.equal(known.recognise('new.example', 1, B), false);
  t.equal(readFileSync(file, 'utf8'), `${before}\nnew.example:1 ${formatFingerprint(B)}\n`);
});

test('a change names the line, both fingerprints and the way out, which works at once', async (t) => {
  const file = join(t.testdir({ known_hosts: `# mine\nold.example:1 ${A}\n` }), 'known_hosts');
  const known = new KnownHosts(file);
  t.throws(() => known.recognise('old.example', 1, B), {
    code: 'CERT_CHANGED',
    message: new RegExp(`old\\.example:1 .*${file}, line 2,.*${formatFingerprint(A)}.*${formatFingerprint(B)}.*remove that line`),
  });
  t.equal(readFileSync(file, 'utf8'), `# mine\nold.example:1 ${A}\n`);
  writeFileSync(file, '# mine\n');
  t.equal(known.recognise('old.example', 1, B), false);
});

test('a server may have several certificates', async (t) => {
  const known = new KnownHosts(join(t.testdir({ known_hosts: `a.example:1 ${A}\na.example:1 ${B}\n` }), 'known_hosts'));
  t.equal(known.recognise('a.example', 1, A), true);
  t.equal(known.recognise('a.example', 1, B), true);
  t.throws(() => known.recognise('a.example', 1, 'cc'.repeat(32)), { code: 'CERT_CHANGED' });
});

test('a damaged line for the server is not taken for a first use', async (t) => {
  const known = new KnownHosts(join(t.testdir({ known_hosts: `a.example:1 SHA256:AA\nb.example:1\n` }), 'known_hosts'));
  t.throws(() => known.recognise('a.example', 1, A), { code: 'CONFIG_INVALID', message: /line 1/ });
  t.throws(() => known.recognise('b.example', 1, A), { code: 'CONFIG_INVALID', message: /line 2/ });
  t.equal(known.recognise('c.example', 1, A), false);
});

test('a file that cannot be read says what to do', async (t) => {
  const unreadable = new KnownHosts(t.testdir({ file: '' }));
  t.throws(() => unreadable.read(), { code: 'FILE_UNREADABLE', message: /-known-hosts/ });
});

test('a file that cannot be written: the process remembers, says so, and writes it down when it can', async (t) => {
  const file = join(t.testdir({ link: t.fixture('symlink', 'nowhere/at/all') }), 'link');
  const known = new KnownHosts(file);
  t.equal(known.recognise('a.example', 1, A), false);
  t.match(known.problem, /a\.example:1 cannot be remembered in .*link \(ENOENT\).*-known-hosts/);
  // As after a reload.
  const again = new KnownHosts(file);
  t.equal(again.recognise('a.example', 1, A), true);
  t.match(again.problem, /cannot be remembered/);
  t.throws(() => again.recognise('a.example', 1, B), { code: 'CERT_CHANGED', message: /since this client first saw it/ });
  t.equal(new KnownHosts(file).recognise('b.example', 1, B), false, 'another server');
  mkdirSync(join(file, '..', 'nowhere', 'at'), { recursive: true });
  t.equal(again.recognise('a.example', 1, A), true);
  t.equal(again.problem, null);
  t.equal(readFileSync(file, 'utf8'), `a.example:1 ${formatFingerprint(A)}\n`);
});

test('a file that is there keeps its mode', { skip: windows && 'Windows has no such modes' }, async (t) => {
  const file = join(t.testdir({ known_hosts: '' }), 'known_hosts');
  chmodSync(file, 0o640);
  new KnownHosts(file).recognise('a.example', 1, A);
  t.equal(statSync(file).mode & 0o777, 0o640);
});

test('processes that write at once lose nothing', async (t) => {
  const directory = t.testdir();
  const file = join(directory, 'known_hosts');
  const module = new URL('../../src/identity/known-hosts.js', import.meta.url).href;
  const script = join(directory, 'write.mjs');
  writeFileSync(
    script,
    `import { KnownHosts } from ${JSON.stringify(module)};
     const [, , file, name, print] = process.argv;
     for (let port = 1; port <= 50; port += 1) new KnownHosts(file).recognise(name, port, print);`,
  );
  const run = (name: string) => promisify(execFile)(process.execPath, [script, file, name, A]);
  await Promise.all(['a.example', 'b.example', 'c.example'].map(run));
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  t.equal(lines.length, 150);
  t.equal(new Set(lines).size, 150);
  for (const line of lines) t.match(line, new RegExp(`^[abc]\\.example:\\d+ ${formatFingerprint(A)}$`));
});

test('a folder that cannot be made at all is told of', { skip: process.platform !== 'linux' && 'needs /proc' }, (t) => {
  const known = new KnownHosts('/proc/nowhere/deeper/known_hosts');
  t.equal(known.recognise('a.example', 1, A), false);
  t.match(known.problem, /cannot be remembered in .*known_hosts \(ENOENT\)/);
  t.end();
});
