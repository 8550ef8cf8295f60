import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';

/**
 * Serves the page at `/` and its files below `/page/`, to everybody who may ask at all: it has nothing secret, and asks for a token where the API
 * wants one. What there is was read at the start. Where no page was built (tests of the API in their own process) none is served.
 */
export function servePage(app: FastifyInstance, folder = FOLDER): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const type = TYPES[path.extname(name)];
    if (type === undefined) continue;
    const content = readFileSync(path.join(folder, name));
    const headers = { ...HEADERS, 'content-type': type };
    app.get(name === START ? '/' : `/page/${name}`, { config: { role: null } }, (_request, reply) =>
      reply.headers(headers).send(content),
    );
  }
}

const FOLDER = fileURLToPath(new URL('../page/', import.meta.url));
const START = 'index.html';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** Scripts and styles from here only and none inside the page; no string becomes HTML; nobody frames it, nothing is sent elsewhere. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
};
