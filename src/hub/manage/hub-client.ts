import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { QtunnelError } from '../../errors.ts';
import { fingerprint } from '../../identity/fingerprint.ts';

export interface HubClientOptions {
  /** `http://127.0.0.1:8080` */
  readonly url: URL;
  readonly token: string | null;
  /** HTTPS: authorities (PEM) in the place of the system's; null for those. */
  readonly ca: string | null;
  /** HTTPS: SHA-256 of the hub's certificate, 64 hexadecimal digits, in the place of any authority; null for none. */
  readonly pin: string | null;
}

/** A hub's API, as the commands use it. */
export class HubClient {
  readonly #options: HubClientOptions;

  constructor(options: HubClientOptions) {
    this.#options = options;
  }

  /**
   * Sends a request and reads the JSON that answers it; null for an answer without any.
   * @throws QtunnelError `HUB_UNREACHABLE`, `HUB_REFUSED`, `PIN_MISMATCH`
   */
  async call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<unknown> {
    const answer = await this.#send(method, path, body === undefined ? undefined : JSON.stringify(body)).catch((error: unknown) => {
      throw error instanceof QtunnelError ? error : this.#unreachable(error as NodeJS.ErrnoException);
    });
    const content = parse(answer.text);
    if (answer.status < 300 && content === undefined) throw this.stranger('no JSON');
    if (answer.status < 300) return content;
    const { detail, message } = (typeof content === 'object' && content !== null ? content : {}) as {
      detail?: unknown;
      message?: unknown;
    };
    const said = typeof detail === 'string' ? detail : message;
    if (typeof said !== 'string') throw this.stranger(`status ${answer.status}`);
    const advice = answer.status === 401 ? ' Give one with -token-file or QTUNNEL_TOKEN_FILE.' : '';
    throw new QtunnelError('HUB_REFUSED', `The hub says: ${said}${advice}`);
  }

  /** What answers is something else. */
  stranger(what: string): QtunnelError {
    return new QtunnelError(
      'HUB_UNREACHABLE',
      `What answers at ${this.#options.url.host} is not a hub's API (${what}): check -api.`,
    );
  }

  async #send(method: string, path: string, body: string | undefined): Promise<{ readonly status: number; readonly text: string }> {
    const { url, token } = this.#options;
    const socket = url.protocol === 'https:' ? await this.#connectTls() : null;
    return await new Promise((resolve, reject) => {
      const request: ClientRequest = httpRequest({
        method,
        host: hostOf(url),
        port: portOf(url),
        path,
        headers: {
          host: url.host,
          accept: 'application/json',
          ...(token !== null && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
        timeout: PATIENCE_MS,
        ...(socket === null ? { agent: false as const } : { createConnection: (): Socket => socket }),
      });
      request.on('timeout', () => request.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
      request.on('error', reject);
      request.on('response', (response) =>
        readAll(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject),
      );
      request.end(body);
    });
  }

  /** The certificate is looked at before a token is sent. */
  #connectTls(): Promise<TLSSocket> {
    const { url, ca, pin } = this.#options;
    const host = hostOf(url);
    return new Promise((resolve, reject) => {
      const socket = connectTls({
        host,
        port: portOf(url),
        servername: /^[\d.]+$|:/.test(host) ? '' : host,
        rejectUnauthorized: pin === null,
        timeout: PATIENCE_MS,
        ...(ca !== null && { ca }),
      });
      socket.once('timeout', () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        socket.off('error', reject);
        const raw = socket.getPeerCertificate().raw as Buffer | undefined;
        if (pin === null || (raw !== undefined && fingerprint(raw) === pin)) return resolve(socket);
        socket.destroy();
        reject(new QtunnelError('PIN_MISMATCH', `The hub at ${url.host} shows another certificate than the one of -pin.`));
      });
    });
  }

  #unreachable(cause: NodeJS.ErrnoException): QtunnelError {
    const { host, protocol } = this.#options.url;
    const reason = REASONS[cause.code ?? ''] ?? `${cause.message || cause.code}`;
    const advice = /CERT|SELF_SIGNED|UNABLE_TO/.test(cause.code ?? '')
      ? 'give its authority with -ca-file, or its fingerprint with -pin'
      : `check that the hub runs with -api, and that -api here is right (${protocol}//${host})`;
    return new QtunnelError('HUB_UNREACHABLE', `There is no hub at ${host}: ${reason}; ${advice}.`, { cause });
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parse(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}

const PATIENCE_MS = 10_000;
const MOST_BYTES = 64 * 1024 ** 2;
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'it hung up',
  ETIMEDOUT: 'it does not answer',
  ENOTFOUND: 'the name does not resolve',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to it',
};
