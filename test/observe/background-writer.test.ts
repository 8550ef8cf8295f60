import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { BackgroundWriter } from '../../src/observe/background-writer.ts';
import { eventually } from '../support/deadline.ts';

const PATIENCE = 30_000;

test('every line once and in order, across rotations at any moment', async (t) => {
  const file = path.join(t.testdir(), 'log');
  const writer = new BackgroundWriter(file, (_text, error) => t.fail(error.message));
  const lines = Array.from({ length: 2000 }, (_, index) => `${index}\n`);
  const rotated: string[] = [];
  for (const [index, line] of lines.entries()) {
    writer.write(line);
    // The first rotation needs a file that has been opened.
    if (index === 0) await eventually('the file', () => existsSync(file));
    if (index % 50 === 0) await new Promise(setImmediate);
    if (index % 301 === 300 && existsSync(file)) {
      rotated.push(`${file}.${index}`);
      renameSync(file, rotated.at(-1)!);
      writer.reopen();
    }
  }
  await writer.close(PATIENCE);
  t.ok(rotated.length > 0);
  t.equal([...rotated, file].map((name) => readFileSync(name, 'utf8')).join(''), lines.join(''));
});

test('closing straight after a reopening loses nothing', async (t) => {
  const file = path.join(t.testdir(), 'log');
  const writer = new BackgroundWriter(file, (_text, error) => t.fail(error.message));
  writer.write('one\n');
  writer.reopen();
  writer.write('two\n');
  writer.reopen();
  await writer.close(PATIENCE);
  t.equal(readFileSync(file, 'utf8'), 'one\ntwo\n');
});

test('what could not be written is handed back; after a reopening it writes again', async (t) => {
  const folder = path.join(t.testdir(), 'later');
  const failed: string[] = [];
  const { promise, tell } = signal();
  const writer = new BackgroundWriter(path.join(folder, 'log'), (text, { code }) => {
    failed.push(`${code} ${text}`);
    tell();
  });
  writer.write('one\n');
  await promise;
  t.same(failed, ['ENOENT one\n']);
  mkdirSync(folder);
  writer.reopen();
  writer.write('two\n');
  await writer.close(PATIENCE);
  t.equal(readFileSync(path.join(folder, 'log'), 'utf8'), 'two\n');
  t.equal(failed.length, 1);
});

function signal() {
  let tell!: () => void;
  const promise = new Promise<void>((resolve) => (tell = resolve));
  return { promise, tell };
}
