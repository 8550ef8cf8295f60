import { type IncomingMessage, STATUS_CODES } from 'node:http';
import { type AddressInfo, type BlockList, isIP, type Server, type Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import rateLimit from '@fastify/rate-limit';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { Address } from '../../config/settings.ts';
import { QtunnelError } from '../../errors.ts';
import { type RateLimitedLog, rateLimited } from '../../observe/rate-limit.ts';
import { listenProblem } from '../../ports/listen-problem.ts';
import { canonicalAddress, ipv6Groups } from '../../protocol/ip-address.ts';
import type { Role } from '../store/store.ts';
import { describe, JSON_TYPE, PROBLEM_TYPE } from './document.ts';
import type { Endpoint } from './endpoint.ts';
import { endpointsOf } from './endpoints/all.ts';
import { Guard, isLoopback } from './guard.ts';
import { checkInput } from './input.ts';
import { servePage } from './page.ts';
import type { ApiParts } from './parts.ts';
import { asRefusal, Refusal, type RefusalCode } from './refusal.ts';

export interface ApiSettings {
  readonly listen: Address;
  /** Certificate and key (PEM) for HTTPS; null for HTTP. */
  readonly tls: { readonly certificatePem: string; readonly privateKeyPem: string } | null;
  /** Networks of the clients that may ask; null for all. */
  readonly networks: BlockList | null;
  /** Requests a minute of one address. */
  readonly rate: number;
  /** The folder of the page; left out: the one that was built beside this module. */
  readonly page?: string;
  /** Milliseconds that a request may take to be sent; left out: ten seconds. */
  readonly patience?: number;
}

export interface Api {
  /** Where it listens; the real port when 0 was asked for. */
  readonly address: Address;
  /** These count for requests, and connections, from now on. */
  use(settings: Pick<ApiSettings, 'tls' | 'networks' | 'rate'>): void;
  close(): Promise<void>;
}

/**
 * Serves the API.
 * @throws QtunnelError `LISTEN_FAILED`; `CONFIG_INVALID` when other machines could reach it and there is no token.
 */
export async function startApi(settings: ApiSettings, parts: ApiParts, log: Logger): Promise<Api> {
  const { host, port } = settings.listen;
  if (!isLoopback(host) && !parts.tokens.any) throw withoutToken(settings.listen);
  const guard = new Guard(parts.tokens, settings.networks);
  let { rate } = settings;
  const app = await makeApi(settings, parts, log, { guard, rate: () => rate });
  try {
    await app.listen({ host: host === '' ? '::' : host, port });
  } catch (error) {
    await app.close();
    throw listenFailed(error as NodeJS.ErrnoException, settings.listen);
  }
  // An accept that fails for want of descriptors must not end the process.
  app.server.on('error', () => {});
  return {
    address: { host, port: (app.server.address() as AddressInfo).port },
    use: ({ tls, networks, rate: latest }) => {
      guard.networks = networks;
      rate = latest;
      if (tls !== null) (app.server as unknown as TlsServer).setSecureContext(secureContext(tls));
    },
    close: () => app.close(),
  };
}

/** What may change while it serves. */
interface Changing {
  readonly guard: Guard;
  readonly rate: () => number;
}

async function makeApi(
  { tls, page, patience = REQUEST_MS }: ApiSettings,
  parts: ApiParts,
  log: Logger,
  { guard, rate }: Changing,
): Promise<FastifyInstance> {
  const strangers = rateLimited(log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
  const logs: Logs = { log, strangers };
  const http = { connectionsCheckingInterval: CHECK_MS };
  const app = Fastify({
    ...(tls === null ? { http } : { https: { ...http, ...secureContext(tls) } }),
    bodyLimit: MOST_BYTES,
    requestTimeout: patience,
    connectionTimeout: SILENCE_MS,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: LONGEST_PARAMETER },
    frameworkErrors: (error, request, reply) =>
      void refuse(error, request as FastifyRequest, reply as unknown as FastifyReply, logs),
  }) as unknown as FastifyInstance;
  app.server.maxConnections = MOST_CONNECTIONS;
  shareConnections(app.server);
  // What a browser sends to another origin without asking that one must not pass for JSON.
  app.removeContentTypeParser('text/plain');
  const endpoints = endpointsOf(parts, describe);
  app.addHook('onRequest', async (_request, reply) => void reply.headers(ALWAYS));
  // After requests are counted (onRequest), so that guesses are too, and before the body is read.
  app.addHook('preParsing', async (request) => {
    guard.admit(visitorOf(request), request.routeOptions.config.role ?? null);
    limitBody(request.raw, patience);
  });
  await app.register(rateLimit, {
    max: rate,
    timeWindow: 60_000,
    cache: MOST_ADDRESSES,
    keyGenerator: ({ ip }) => networkOf(ip),
    errorResponseBuilder: (_request, { after }) => new Refusal('TOO_MANY', `Too many requests: try again in ${after}.`),
  });
  app.setErrorHandler((error, request, reply) => refuse(error, request, reply, logs));
  app.addHook('onClose', async () => strangers.flush());
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, (request, reply) => {
    const allowed = methodsOf(endpoints, request);
    if (allowed.length === 0)
      throw new Refusal('NOT_FOUND', 'There is nothing of this name; /api/openapi.json says what there is.');
    const headers = { allow: allowed.join(', ') };
    void reply;
    throw new Refusal('METHOD_NOT_ALLOWED', `Expected ${allowed.join(' or ')} for this path.`, { headers });
  });
  for (const one of endpoints) serve(app, one, guard);
  servePage(app, page);
  return app;
}

function secureContext({ certificatePem, privateKeyPem }: NonNullable<ApiSettings['tls']>) {
  return { cert: certificatePem, key: privateKeyPem, minVersion: 'TLSv1.3' as const };
}

function serve(app: FastifyInstance, one: Endpoint, guard: Guard): void {
  app.route({
    method: one.method,
    url: one.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    config: { role: one.role, style: one.style },
    handler: async (request, reply) => {
      if (one.body !== undefined && request.body === undefined) throw new Refusal('MEDIA_TYPE', NO_BODY);
      const {
        data,
        message = '',
        headers = {},
      } = await one.handle({
        params: one.params === undefined ? {} : checkInput(one.params, request.params),
        query: one.query === undefined ? {} : checkInput(one.query, request.query),
        body: one.body === undefined ? undefined : checkInput(one.body, request.body),
        // Again: the token may have been removed while the body came.
        author: guard.admit(visitorOf(request), one.role),
        reply,
      });
      if (reply.sent) return reply;
      reply.code(one.answer.status).headers(headers);
      if (one.answer.schema === undefined) return reply.send();
      return reply.type(JSON_TYPE).send(JSON.stringify(one.style === 'envelope' ? { success: true, message, data } : data));
    },
  });
}

function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply, { log, strangers }: Logs): FastifyReply {
  const refusal = asRefusal(error);
  if (OF_STRANGERS.has(refusal.code)) {
    const fields = { event: 'api_refused', code: refusal.code, peer: request.ip, method: request.method, path: pathOf(request) };
    strangers.warn(refusal.code, fields, `API: a request of ${request.ip} was refused: ${refusal.message}`);
  }
  if (refusal.status >= 500) {
    log.error({ event: 'api_failed', err: error, method: request.method, path: pathOf(request) }, 'a request to the API failed');
  }
  const { status, code, message: detail, fields: errors, headers } = refusal;
  reply.code(status).headers({ ...ALWAYS, ...headers });
  if (request.routeOptions?.config.style === 'envelope')
    return reply.type(JSON_TYPE).send(JSON.stringify({ success: false, message: detail, data: { code, errors } }));
  return reply.type(PROBLEM_TYPE).send(JSON.stringify({ title: STATUS_CODES[status] ?? 'Error', status, detail, code, errors }));
}

/** Node's `requestTimeout` ends with the headers of a request whose body does not come (measured with Node 20.20). */
function limitBody(request: IncomingMessage, patience: number): void {
  if (request.headers['content-length'] === undefined && request.headers['transfer-encoding'] === undefined) return;
  const timer = setTimeout(() => request.destroy(), patience);
  request.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
}

interface Logs {
  readonly log: Logger;
  /** For what somebody can cause who may do nothing. */
  readonly strangers: RateLimitedLog;
}

/** Has no address take all connections. */
function shareConnections(server: Server): void {
  const counts = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? '');
    const count = (counts.get(network) ?? 0) + 1;
    if (count > MOST_OF_ONE) return void socket.destroy();
    counts.set(network, count);
    socket.on('close', () => {
      const rest = (counts.get(network) ?? 1) - 1;
      if (rest === 0) counts.delete(network);
      else counts.set(network, rest);
    });
  });
}

/** What counts as one address: of IPv6 the first 64 bits, since whoever has one address there has all of them. */
function networkOf(ip: string): string {
  const plain = isIP(ip) === 0 ? '' : canonicalAddress(ip);
  return plain.includes(':') ? `${ipv6Groups(plain).slice(0, 4).join(':')}::/64` : plain;
}

function visitorOf({ ip, protocol, headers }: FastifyRequest) {
  return { ip, secure: protocol === 'https', headers };
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

/** The methods that there are for a request's path. */
function methodsOf(endpoints: readonly Endpoint[], request: FastifyRequest): string[] {
  const path = pathOf(request);
  return endpoints.filter((one) => patternOf(one).test(path)).map(({ method }) => method);
}

function patternOf({ path }: Endpoint): RegExp {
  return new RegExp(`^${path.replaceAll('.', String.raw`\.`).replaceAll(/\{\w+\}/g, '[^/]+')}$`);
}

/** For an API that other machines reach and that everybody might use. */
export function withoutToken({ host, port }: Address): QtunnelError {
  return new QtunnelError(
    'CONFIG_INVALID',
    `-api=${host}:${port} can be reached from other machines, and there is no token: give -api-token-file, or start once with -api=127.0.0.1:${port} and run: qtunnel token create -name=NAME -role=manage`,
  );
}

function listenFailed(cause: NodeJS.ErrnoException, { host, port }: Address): QtunnelError {
  return new QtunnelError('LISTEN_FAILED', `The API cannot be served on ${host}:${port} (-api): ${listenProblem(cause)}.`, {
    cause,
  });
}

declare module 'fastify' {
  interface FastifyContextConfig {
    role?: Role | null;
    style?: Endpoint['style'];
  }
}

/** Who is refused for these may be trying what can be had. A page that has no token yet asks without one. */
const OF_STRANGERS: ReadonlySet<RefusalCode> = new Set([
  'TOKEN_UNKNOWN',
  'ROLE_INSUFFICIENT',
  'ADDRESS_REFUSED',
  'HOST_REFUSED',
  'ORIGIN_REFUSED',
]);
const NO_BODY = 'The request has no body: send JSON with "content-type: application/json".';
const MOST_BYTES = 64 * 1024;
const REQUEST_MS = 10_000;
/** How often it is looked for who takes longer: every 30 s if nobody says otherwise. */
const CHECK_MS = 2_000;
const SILENCE_MS = 60_000;
const MOST_CONNECTIONS = 1_000;
const MOST_OF_ONE = 100;
const LONGEST_PARAMETER = 100;
/** Whose requests are counted at once. */
const MOST_ADDRESSES = 5_000;
const ALWAYS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
};
