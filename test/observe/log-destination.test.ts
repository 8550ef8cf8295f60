import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { start } from '../support/process.ts';

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
    t.equal(stderr.split('cannot be written (ENOSPC); logging to standard error').length, 2);
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
