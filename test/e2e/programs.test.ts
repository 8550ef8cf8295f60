import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { temporaryFolder } from '../support/files.ts';
import { run, start } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import { startNginx, startSshd } from '../support/services.ts';
import { freePort } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: iperf3, one stream and ten, up and down`, { skip: missing('iperf3') }, async (t) => {
    const backend = await freePort();
    const server = start(t, 'iperf3', ['-s', '-p', `${backend}`, '--forceflush']);
    // It says so at its start and after each test, and takes one test at a time.
    const idle = (tests: number) =>
      server.waitFor('an idle server', () => server.lines.filter((line) => line.startsWith('Server listening'))[tests]);
    let tests = 0;
    const { port } = await startTunnel(t, mode, backend);
    for (const streams of [1, 10])
      for (const direction of [[], ['-R']]) {
        const args = ['-J', '-c', '127.0.0.1', '-p', `${port}`, '-P', `${streams}`, '-t', '1', ...direction];
        await idle(tests++);
        const report = JSON.parse(await run(t, 'iperf3', args)) as IperfReport;
        const name = `${streams} ${direction.length > 0 ? 'down' : 'up'}`;
        t.equal(report.error, undefined, name);
        t.equal(report.end.streams.length, streams, name);
        t.ok(
          report.end.streams.every(({ receiver }) => receiver.bytes > 0),
          `${name}: every stream carried something`,
        );
      }
  });

  test(`${mode}: nginx with curl and ab`, { skip: missing('nginx', 'curl', 'ab') }, async (t) => {
    const page = randomBytes(300_000);
    const { port } = await startTunnel(t, mode, await startNginx(t, page));
    const url = `http://127.0.0.1:${port}/page`;
    const copy = join(temporaryFolder(t), 'page');
    await run(t, 'curl', ['--silent', '--show-error', '--fail', '--max-time', '60', '-o', copy, url]);
    t.ok(readFileSync(copy).equals(page));

    for (const keepAlive of [[], ['-k']]) {
      const report = await run(t, 'ab', ['-q', '-l', '-n', '400', '-c', '20', ...keepAlive, url]);
      t.match(report, /Complete requests:\s+400\n/);
      t.match(report, /Failed requests:\s+0\n/);
      t.notMatch(report, /Non-2xx responses/);
    }
  });

  test(`${mode}: ssh runs a command and copies a file`, { skip: missing('sshd', 'ssh', 'scp', 'ssh-keygen') }, async (t) => {
    const { port: backend, options, folder } = await startSshd(t);
    const { port } = await startTunnel(t, mode, backend);
    t.match(await run(t, 'ssh', [...options, '-p', `${port}`, '127.0.0.1', 'echo', 'through the tunnel']), 'through the tunnel');

    const file = randomBytes(20 * 1024 * 1024);
    writeFileSync(join(folder, 'file'), file);
    await run(t, 'scp', ['-q', ...options, '-P', `${port}`, join(folder, 'file'), `127.0.0.1:${folder}/copy`]);
    t.ok(readFileSync(join(folder, 'copy')).equals(file));
  });
}

interface IperfReport {
  readonly error?: string;
  readonly end: { readonly streams: readonly { readonly receiver: { readonly bytes: number } }[] };
}
