import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { temporaryFolder } from '../support/files.ts';
import { start } from '../support/process.ts';
import { MODES } from '../support/qtunnel.ts';

for (const mode of MODES) {
  test(`${mode}: the process ends by itself after close, has no signal handlers and has printed nothing`, async (t) => {
    const script = fileURLToPath(new URL('exit-child.js', import.meta.url));
    const child = start(t, process.execPath, [script, mode, temporaryFolder(t)]);
    t.same(await child.end(), { code: 0, signal: null });
    t.equal(child.output, '');
  });
}
