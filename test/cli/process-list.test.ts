import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { Program } from '../support/process.ts';
import { BIN } from './command.ts';

const skip = process.platform !== 'linux' && 'the process list is read from /proc';

test('the secret on the command line is gone from the process list soon after the start', { skip }, async (t) => {
  // A pipe that nobody writes to keeps the command waiting for its configuration.
  const conf = path.join(t.testdir(), 'tunnels.yaml');
  t.equal(spawnSync('mkfifo', [conf]).status, 0);
  const program = new Program(process.execPath, [BIN, '-secret=hush-hush', `-conf=${conf}`], {});
  t.teardown(() => program.kill());
  const commandLine = () => readFileSync(`/proc/${program.pid}/cmdline`, 'latin1').replace(/\0+$/, '');
  await eventually('the title qtunnel', () => commandLine() === 'qtunnel');
  t.notMatch(commandLine(), 'hush');
  t.equal(readFileSync(`/proc/${program.pid}/comm`, 'utf8'), 'qtunnel\n');
});
