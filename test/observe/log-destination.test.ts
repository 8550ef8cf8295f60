import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { temporaryFolder } from '../support/files.ts';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { openDestination } from '../../src/observe/log-destination.ts';
import { eventually } from '../support/deadline.ts';
import { run, start } from '../support/process.ts';
import { missing } from '../support/programs.ts';

const CHILD = fileURLToPath(new URL('log-child.js', import.meta.url));

/** What a process that logs wrote to each of its streams, and how it ended. */
async function logsTo(t: Test, logto: string, format = 'json') {
  const program = start(t, process.execPath, [CHILD, logto, format]);
  const output = { stdout: '', stderr: '' };
  program.child.stdout!.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  program.child.stderr!.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  await program.line(/one|cannot be written/);
  program.child.stdin!.end('go\n');
  const { code } = await program.end();
  return { code, ...output };
}

test('standard output and standard error, without colour where there is no terminal', async (t) => {
  t.match(await logsTo(t, 'stdout'), { code: 0, stdout: /"msg":"one"[^]*"msg":"two"/, stderr: /^$/ });
  t.match(await logsTo(t, 'stderr'), { code: 0, stderr: /"msg":"one"[^]*"msg":"two"/, stdout: /^$/ });
  const pretty = await logsTo(t, 'stdout', 'pretty');
  t.match(pretty.stdout, /INFO.* one\n.*INFO.* two\n$/);
  t.notMatch(pretty.stdout, '\u001b');
});

test(
  'a full disk: said once, further lines go to standard error, the process lives on',
  { skip: !existsSync('/dev/full') },
  async (t) => {
    const { code, stderr } = await logsTo(t, '/dev/full');
    t.equal(code, 0);
    t.equal(stderr.split('cannot be written (ENOSPC); logging to standard error until it can be').length, 2);
    t.match(stderr, /"msg":"two"/);
  },
);

test('a reader that goes away does not end the process', async (t) => {
  for (const logto of ['stdout', 'stderr']) {
    const program = start(t, process.execPath, [CHILD, logto]);
    await program.line(/one/);
    (logto === 'stdout' ? program.child.stdout! : program.child.stderr!).destroy();
    program.child.stdin!.end('go\n');
    t.match(await program.end(), { code: 0 });
    if (logto === 'stdout') t.match(program.output, /standard output cannot be written \(EPIPE\)/);
  }
});

test(
  'when the disk has room again the log goes on there, and says how many lines are missing',
  { skip: process.getuid?.() !== 0 ? 'a disk of its own needs root' : missing('mount') },
  async (t) => {
    const disk = temporaryFolder(t);
    await run(t, 'mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk]);
    t.teardown(() => spawnSync('umount', ['-l', disk]));
    const file = path.join(disk, 'log');
    const log = openDestination(file);
    log.write('{"msg":"before"}\n');
    await eventually('the first line', () => existsSync(file) && readFileSync(file, 'utf8').includes('before'));
    writeFileSync(path.join(disk, 'other'), Buffer.alloc(60 * 1024));
    const lines = 2000;
    for (let n = 0; n < lines; n++) log.write(`{"msg":"line ${n} while it fills up"}\n`);
    await eventually('the disk is full', () => readFileSync(file).length === 4096);
    rmSync(path.join(disk, 'other'));
    let after = 0;
    await eventually('lines again', () => {
      log.write(`{"msg":"after ${after++}"}\n`);
      return readFileSync(file, 'utf8').includes('log_gap');
    });
    await log.close();
    const written = readFileSync(file, 'utf8').split('\n');
    const gap = written.findIndex((line) => line.includes('log_gap'));
    const isWhole = (line: string) => line.endsWith('"}') && line.startsWith('{"msg"');
    const there = written.filter(isWhole).length;
    const { lines: missingLines } = JSON.parse(written[gap]!) as { lines: number };
    t.equal(there + missingLines, 1 + lines + after, 'every line is there or counted');
    t.notOk(isWhole(written[gap - 1]!), 'half a line');
    t.ok(written.slice(gap + 1, -1).every(isWhole));
  },
);
