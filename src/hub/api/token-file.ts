import { QtunnelError } from '../../errors.ts';
import { readPrivateText } from '../../identity/files.ts';

/**
 * The token of `-api-token-file`.
 * @throws QtunnelError `FILE_UNREADABLE`; `CONFIG_INVALID` when there is none in it.
 */
export async function readTokenFile(file: string): Promise<{ readonly token: string; readonly warnings: readonly string[] }> {
  const { text, warnings } = await readPrivateText(file, 'token file');
  const token = text.trim();
  if (TOKEN.test(token)) return { token, warnings };
  throw new QtunnelError(
    'CONFIG_INVALID',
    `The token file ${file} (-api-token-file) holds no token: expected one word of 16 to 256 letters, digits and "-._~+/=", such as openssl rand -hex 32 makes.`,
  );
}

/** What may stand in an Authorization header (RFC 6750 §2.1), and cannot be guessed in passing. */
const TOKEN = /^(?=.{16,256}$)[\w.~+/-]+=*$/;
