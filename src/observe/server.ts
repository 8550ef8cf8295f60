import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { listenProblem } from '../ports/listen-problem.ts';
import { type Listen, OWN_PORTS } from '../ports/ports.ts';
import type { Metrics } from './metrics.ts';
import { addProcessMetrics } from './process-metrics.ts';

export interface ObserveServer {
  /** Where it listens; the real port when 0 was asked for. */
  readonly address: Address;
  close(): Promise<void>;
}

/**
 * Serves `/metrics` (Prometheus), `/healthz` (200 while the process lives) and `/ready` (503 while the link of any client tunnel is
 * down; the body says which) over HTTP.
 * @throws QtunnelError `LISTEN_FAILED`
 */
export async function startObserveServer(
  address: Address,
  metrics: Metrics,
  listen: Listen = OWN_PORTS.listen,
): Promise<ObserveServer> {
  const server = createServer((request, response) => {
    respond(request, response, metrics).catch((error: unknown) => fail(response, error));
  });
  try {
    await listen(server, address);
  } catch (error) {
    throw listenFailed(error as NodeJS.ErrnoException, address);
  }
  // An accept that fails for want of descriptors must not end the process.
  server.on('error', () => {});
  addProcessMetrics(metrics.registry);
  return {
    address: { host: address.host, port: (server.address() as AddressInfo).port },
    close: () => close(server),
  };
}

async function respond(request: IncomingMessage, response: ServerResponse, metrics: Metrics): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return send(response, 405, TEXT, 'Only GET and HEAD are answered here.\n');
  }
  switch (request.url?.split('?')[0]) {
    case '/metrics':
      return send(response, 200, metrics.registry.contentType, await metrics.text());
    case '/healthz':
      return send(response, 200, TEXT, 'ok\n');
    case '/ready':
      return await sendReadiness(response, metrics);
    default:
      return send(response, 404, TEXT, 'There is /metrics, /healthz and /ready.\n');
  }
}

async function sendReadiness(response: ServerResponse, metrics: Metrics): Promise<void> {
  const tunnels = await metrics.readiness();
  const ready = tunnels.every((tunnel) => tunnel.ready);
  send(response, ready ? 200 : 503, 'application/json', `${JSON.stringify({ ready, tunnels })}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body), 'Cache-Control': 'no-store' });
  response.end(body);
}

function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) response.destroy();
  else send(response, 500, TEXT, `The metrics cannot be read: ${(error as Error).message}\n`);
}

function listenFailed(cause: NodeJS.ErrnoException, { host, port }: Address): QtunnelError {
  return new QtunnelError('LISTEN_FAILED', `The metrics cannot be served on ${host}:${port} (-metrics): ${listenProblem(cause)}.`, {
    cause,
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

const TEXT = 'text/plain; charset=utf-8';
