import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { ERROR_CODES, QtunnelError } from '../src/errors.ts';

test('docs/ERRORS.md has a row for each code, in their order, that says what it means and what to do', async (t) => {
  const rows = rowsOf(readFileSync('docs/ERRORS.md', 'utf8'));
  t.same(
    rows.map(([code]) => code),
    ERROR_CODES,
  );
  for (const [code, meaning, advice] of rows) {
    t.ok(meaning !== undefined && meaning.length > 10, `${code}: what it means`);
    t.ok(advice !== undefined && advice.length > 10, `${code}: what to do`);
  }
});

test('no code stands twice', async (t) => {
  t.equal(new Set(ERROR_CODES).size, ERROR_CODES.length);
});

test('an error keeps its code, its message and what led to it', async (t) => {
  const cause = new Error('cause');
  const error = new QtunnelError('LINK_LOST', 'The link was lost.', { cause });
  t.ok(error instanceof Error);
  t.match(error, { name: 'QtunnelError', code: 'LINK_LOST', message: 'The link was lost.' });
  t.equal(error.cause, cause);
});

/** The cells of the rows that begin with a code. */
function rowsOf(markdown: string): string[][] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
}
