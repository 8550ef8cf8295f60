import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { candidates } from '../../src/completion/candidates.ts';
import { SCRIPTS } from '../../src/completion/scripts.ts';
import { BIN, qtunnel } from '../cli/command.ts';
import { temporaryFolder } from '../support/files.ts';
import { type Owner, run } from '../support/process.ts';
import { missing } from '../support/programs.ts';

test('what the last word may become', async (t) => {
  for (const [line, expected] of [
    ['', ['hub', 'agent', 'bench', 'mapping', 'token', 'agents', 'status', 'service', 'completion']],
    ['ag', ['agent', 'agents']],
    ['mapping ', ['create', 'update', 'remove', 'list']],
    ['service inst', ['install']],
    ['service install a', ['agent']],
    ['service install agent -serv', ['-server=']],
    ['service uninstall -', ['-name=', '-help']],
    ['service install agent -manager=l', ['-manager=launchd']],
    ['-qui', ['-quic']],
    ['--qui', ['--quic']],
    ['-quic -secret', ['-secret=', '-secret-file=']],
    ['-log-format=', ['-log-format=pretty', '-log-format=json']],
    ['-log-level=d', ['-log-level=debug']],
    ['-quic=', ['-quic=true', '-quic=false']],
    ['-secret-file=', []],
    ['hub -ports', ['-ports=']],
    ['-ports', []],
    ['nonsense ', []],
  ] as const) {
    t.same(candidates(line.split(' ')), expected, line);
  }
});

test('qtunnel completion SHELL prints its script; without one it says how to use it', async (t) => {
  t.match(await qtunnel(t, ['completion', 'fish']), { code: 0, stdout: SCRIPTS.fish });
  const help = await qtunnel(t, ['completion']);
  t.match(help, { code: 0, stdout: /source <\(qtunnel completion bash\)/ });
  t.match(await qtunnel(t, ['completion', 'bsh']), { code: 2, stderr: /did you mean qtunnel completion bash/ });
});

test('bash', { skip: missing('bash') }, async (t) => {
  const ask = async (line: string, breaks: string): Promise<string[]> => {
    const script = `${SCRIPTS.bash}\nCOMP_WORDBREAKS='${breaks}' COMP_LINE='${line}' COMP_POINT=${line.length}\n_qtunnel; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return await linesOf(t, 'bash', ['--norc', '-c', script]);
  };
  t.same(await ask('qtunnel serv', ' ='), ['service']);
  t.same(await ask('qtunnel -quic -log-level=d', ' ='), ['debug'], 'the part after the = alone');
  t.same(await ask('qtunnel -log-level=d', ' '), ['-log-level=debug']);
  t.same(await ask('qtunnel -secret-file=my', ' ='), ['my secret']);
});

test('zsh', { skip: missing('zsh') }, async (t) => {
  const script = `compdef() { }; compadd() { print -l -- "\${@:#-*}" }; compset() { }; _files() { print files }\n${SCRIPTS.zsh}`;
  const ask = (...words: string[]): Promise<string[]> =>
    linesOf(t, 'zsh', [
      '-f',
      '-c',
      `${script}\nwords=(qtunnel "$@") CURRENT=$(($# + 1)) PREFIX="\${@[-1]}"; _qtunnel`,
      'zsh',
      ...words,
    ]);
  t.same(await ask('mapping', ''), ['create', 'update', 'remove', 'list']);
  t.same(await ask('-secret-file=m'), ['files']);
});

test('fish', { skip: missing('fish') }, async (t) => {
  const ask = (line: string): Promise<string[]> =>
    linesOf(t, 'fish', ['--no-config', '-c', `${SCRIPTS.fish}\ncomplete -C '${line}'`]);
  t.same(await ask('qtunnel mapping cr'), ['create']);
  t.same(await ask('qtunnel -log-level=de'), ['-log-level=debug']);
  t.same(await ask('qtunnel -secret-file=my'), ['-secret-file=my secret']);
});

/** In a folder with one file, where `qtunnel` is the program that was compiled beside this test. */
async function linesOf(t: Owner, shell: string, args: readonly string[]): Promise<string[]> {
  const folder = temporaryFolder(t);
  const bin = temporaryFolder(t);
  writeFileSync(path.join(folder, 'my secret'), '');
  writeFileSync(path.join(bin, 'qtunnel'), `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`);
  chmodSync(path.join(bin, 'qtunnel'), 0o755);
  mkdirSync(path.join(folder, '.config'));
  const output = await run(t, shell, args, { cwd: folder, env: { PATH: `${bin}:${process.env['PATH']}`, HOME: folder } });
  return output.split('\n').filter((line) => line !== '');
}
