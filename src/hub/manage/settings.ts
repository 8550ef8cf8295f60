import { isIPv6 } from 'node:net';
import type { Environment } from '../../config/environment.ts';
import { type LayerValue, quote } from '../../config/layer.ts';
import { QtunnelError } from '../../errors.ts';
import { readPrivateText, readText } from '../../identity/files.ts';
import { HubClient } from './hub-client.ts';

/**
 * The hub that the flags, or else the environment, name.
 * @throws QtunnelError `USAGE`, `FILE_UNREADABLE`
 */
export async function hubClientFrom(flags: ReadonlyMap<string, LayerValue>, environment: Environment): Promise<HubClient> {
  const given = (name: string) => flags.get(name)?.value as string | undefined;
  const [where, api] = [given('api') === undefined ? 'QTUNNEL_API' : '-api', given('api') ?? environment['QTUNNEL_API']];
  const tokenFile = given('token-file') ?? (environment['QTUNNEL_TOKEN'] ? undefined : environment['QTUNNEL_TOKEN_FILE']);
  const caFile = given('ca-file');
  return new HubClient({
    url: urlOf(api || '127.0.0.1:8080', where),
    token: tokenFile ? await readToken(tokenFile) : environment['QTUNNEL_TOKEN'] || null,
    ca: caFile === undefined ? null : await readText(caFile, 'file of authorities'),
    pin: given('pin') ?? null,
  });
}

async function readToken(file: string): Promise<string> {
  const token = (await readPrivateText(file, 'token file')).text.trim();
  if (token === '' || /\s/.test(token))
    throw new QtunnelError('USAGE', `The token file ${file} holds no token: expected one word.`);
  return token;
}

/** As the hub's own -api has it, or a URL. */
function urlOf(text: string, where: string): URL {
  const url = parse(/^https?:\/\//.test(text) ? text : `http://${text.startsWith(':') ? `localhost${text}` : text}`);
  const host = url?.hostname ?? '';
  if (url === null || !/^https?:$/.test(url.protocol) || host === '' || url.username !== '' || url.pathname !== '/') {
    throw new QtunnelError(
      'USAGE',
      `${where}: expected an address such as 127.0.0.1:8080 or https://hub.example:8080, got ${quote(text)}`,
    );
  }
  // A hub that listens on every address is asked on this machine's own.
  if (host === '0.0.0.0') url.hostname = '127.0.0.1';
  if (isIPv6(host.slice(1, -1)) && host === '[::]') url.hostname = '[::1]';
  return url;
}

function parse(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
