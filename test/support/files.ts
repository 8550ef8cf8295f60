import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Owner } from './process.ts';

/** A new empty folder that is there until the test ends. A test may have several, unlike with `t.testdir()`. */
export function temporaryFolder(t: Owner): string {
  const folder = mkdtempSync(join(tmpdir(), 'qtunnel-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
