import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { readTokenFile } from '../../../src/hub/api/token-file.ts';
import { temporaryFolder } from '../../support/files.ts';
import { startTestApi } from '../support/api.ts';

test('what is taken for a token lets its bearer in, and what would not is refused at the start', async (t) => {
  const file = join(temporaryFolder(t), 'token');
  const read = async (text: string) => {
    writeFileSync(file, text, { mode: 0o600 });
    return (await readTokenFile(file)).token;
  };
  for (const token of ['-._~+/0aA1bB2cC3dD==', 'x'.repeat(256), `${'x'.repeat(255)}=`]) {
    t.equal(await read(`${token}\n`), token);
    const { call } = await startTestApi(t, { fileToken: token });
    const { status } = await call('GET', '/api/v1/mappings', undefined, { authorization: `Bearer ${token}` });
    t.equal(status, 200, token);
  }
  for (const text of ['', 'x'.repeat(15), 'x'.repeat(257), `${'x'.repeat(256)}=`, 'two words of a token', 'x=y'.repeat(6)])
    await t.rejects(read(text), { code: 'CONFIG_INVALID', message: /16 to 256/ }, text);
});
