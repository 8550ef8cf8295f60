import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { type Test, test } from 'tap';
import { withDeadline } from '../support/deadline.ts';
import { issueCertificate } from '../support/issue-certificate.ts';
import { MODES } from '../support/qtunnel.ts';
import { pair } from './tunnel.ts';

const BODY = randomBytes(2 * 1024 * 1024);

for (const mode of MODES) {
  test(`${mode}: http.request with createConnection`, async (t) => {
    const { client } = await pair(t, mode, await httpServer(t));
    for (const method of ['GET', 'POST']) {
      const duplex = await client.connect();
      const asked = request({ method, path: '/sum', headers: { host: 'backend.test' }, createConnection: () => duplex });
      const closed = once(duplex, 'close');
      const responding = once(asked, 'response') as Promise<[IncomingMessage]>;
      asked.end(method === 'POST' ? BODY : undefined);
      const [response] = await withDeadline(responding, () => 'a response');
      const expected = method === 'POST' ? BODY : Buffer.alloc(0);
      t.equal(response.statusCode, 200);
      t.equal(response.headers['x-host'], 'backend.test');
      const body = await buffer(response);
      t.equal(body.subarray(0, 64).toString(), createHash('sha256').update(expected).digest('hex'));
      t.ok(body.subarray(64).equals(expected));
      await withDeadline(closed, () => 'the end of the connection');
    }
    t.equal(client.connections, 0);
  });

  test(`${mode}: tls.connect over the stream`, async (t) => {
    const { certificate, privateKey } = issueCertificate({ name: 'backend.test', hosts: ['backend.test'] });
    const server = createTlsServer({ cert: certificate, key: privateKey }, (socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    const { client } = await pair(t, mode, await listening(t, server));
    const duplex = await client.connect();
    const secure = connectTls({ socket: duplex, servername: 'backend.test', ca: certificate });
    await withDeadline(once(secure, 'secureConnect'), () => 'the handshake');
    t.ok(secure.authorized);
    const closed = once(duplex, 'close');
    const [echoed] = await withDeadline(
      Promise.all([
        buffer(secure),
        pipeline(
          async function* () {
            yield BODY;
          },
          secure,
          { end: true },
        ),
      ]),
      () => 'the echo',
    );
    t.ok((echoed as Buffer).equals(BODY));
    await withDeadline(closed, () => 'the end of the connection');
  });
}

/** Answers with the SHA-256 of what it was sent, and then the same. */
async function httpServer(t: Test): Promise<number> {
  const server = createHttpServer(async (incoming, outgoing) => {
    const body = await buffer(incoming);
    outgoing.setHeader('x-host', incoming.headers.host ?? '');
    outgoing.write(createHash('sha256').update(body).digest('hex'));
    outgoing.end(body);
  });
  return await listening(t, server);
}

async function listening(t: Test, server: Server): Promise<number> {
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

// Node 20 sometimes spins for ever in Environment::CleanupHandles when this process ends by itself after these tests (docs/MEASURED.md, "Open").
test('the process ends', (t) => {
  setTimeout(() => process.exit(), 500);
  t.end();
});
