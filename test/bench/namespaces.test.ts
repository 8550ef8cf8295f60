import { spawnSync } from 'node:child_process';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { removeAbandonedNamespaces } from '../support/netns.ts';
import { start } from '../support/process.ts';
import { missingForNamespaces } from '../support/programs.ts';

test(
  'namespaces of a process that is gone are removed, with what runs for them; others stay',
  { skip: missingForNamespaces() },
  async (t) => {
    const { pid: gone } = spawnSync('true');
    const abandoned = `qtunnel-${gone}-1`;
    const own = `qtunnel-${process.pid}-1000`;
    t.teardown(() => [abandoned, own].forEach((name) => spawnSync('ip', ['netns', 'delete', name])));
    for (const name of [abandoned, own]) spawnSync('ip', ['netns', 'add', name]);
    const inside = start(t, 'sleep', ['60'], { prefix: ['ip', 'netns', 'exec', abandoned] });
    const outside = start(t, 'sh', ['-c', 'read line', abandoned]);
    const other = start(t, 'sleep', ['60'], { prefix: ['ip', 'netns', 'exec', own] });
    await eventually('programs inside', () => [abandoned, own].every((name) => pidsIn(name) !== ''));

    removeAbandonedNamespaces();
    t.match(await inside.end(), { signal: 'SIGKILL' });
    t.match(await outside.end(), { signal: 'SIGKILL' });
    const left = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout;
    t.notOk(left.includes(abandoned));
    t.ok(left.includes(own));
    t.ok(pidsIn(own).includes(`${other.pid}`));
  },
);

function pidsIn(namespace: string): string {
  return spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).stdout;
}
