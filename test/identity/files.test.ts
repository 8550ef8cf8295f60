import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { makePrivateDirectory } from '../../src/identity/files.ts';
import { temporaryFolder } from '../support/files.ts';

test('a folder that several make at once is there for all of them, for its owner only', async (t) => {
  for (let round = 0; round < 20; round++) {
    const above = join(temporaryFolder(t), 'above');
    const folder = join(above, 'between', 'folder');
    await Promise.all(Array.from({ length: 4 }, () => makePrivateDirectory(folder)));
    for (const made of [above, folder]) t.equal(statSync(made).mode & 0o777, 0o700);
  }
  await t.rejects(makePrivateDirectory('/proc/not/here'), { code: 'ENOENT' });
});
