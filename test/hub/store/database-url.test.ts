import { test } from 'tap';
import { hasPassword, isUrl } from '../../../src/hub/store/database-url.ts';

test('what is a URL and what a file, and whose password others could read', async (t) => {
  const cases: [text: string, isUrl: boolean, hasPassword: boolean][] = [
    ['hub.db', false, false],
    ['/var/lib/a:b@c/hub.db', false, false],
    ['C:/qtunnel/hub.db', false, false],
    ['postgres://host/name', true, false],
    ['postgres://user@host/name', true, false],
    ['postgres://user:password@host/name', true, true],
    ['POSTGRES://user:password@host/name', true, true],
    ['postgres:/user:password@host/name', true, true],
    ['postgres://host/name?user=a&password=b', true, true],
    ['postgres://host/name?options=a:b@c', true, false],
  ];
  for (const [text, url, password] of cases) t.same([isUrl(text), hasPassword(text)], [url, password], text);
});
