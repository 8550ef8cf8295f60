import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { issueCertificate } from '../support/issue-certificate.ts';
import { type LogLine, type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';

const [OLD, NEW] = ['an-old-token-of-the-file', 'the-new-token-of-the-file'];

test('SIGHUP at a hub: secret, named clients, and of the API the token, networks, rate and certificate; what needs a restart is said', async (t) => {
  const folder = temporaryFolder(t);
  const write = writerIn(folder);
  const [listen, api, own, other] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const settings = (changed: readonly string[]): void =>
    write('hub.yaml', [
      `listen: 127.0.0.1:${listen}`,
      'ports: 127.0.0.1:10000-30000',
      `state-dir: ${folder}/state`,
      'secret-file: secret',
      'clients: clients.yaml',
      'cert-file: cert.pem',
      'key-file: key.pem',
      'api-tls: "true"',
      'api-token-file: token',
      ...changed,
    ]);
  const clients = (ports: number): void => write('clients.yaml', ['clients:', `  box: { secret: of the box, ports: [${ports}] }`]);
  const certificate = (name: string): void => {
    const issued = issueCertificate({ name, hosts: ['127.0.0.1'] });
    write('cert.pem', [issued.certificate]);
    write('key.pem', [issued.privateKey]);
  };
  write('secret', ['the old one']);
  write('token', [OLD]);
  certificate('old');
  clients(own);
  settings([`api: { listen: "127.0.0.1:${api}" }`]);
  const hub = startQtunnel(t, ['hub', `-conf=${folder}/hub.yaml`], { secret: null });
  await hub.event('api');
  t.match(await ask(api, OLD), { status: 200, name: 'old' });

  const echo = await echoServer(t);
  const agent = (flags: readonly string[], secret: string): Qtunnel =>
    startQtunnel(t, ['agent', `-server=127.0.0.1:${listen}`, `-state-dir=${temporaryFolder(t)}`, ...flags], { secret });
  const box = agent(['-client-name=box', '-R', `${own}:127.0.0.1:${echo}`, '-R', `${other}:127.0.0.1:${echo}`], 'of the box');
  await box.event('port_refused', { mapping: `tcp/${other}` });
  const visitor = await dial(t, own);
  t.ok(await echoes(visitor, 'hello'));

  write('secret', ['the new one', 'the old one']);
  write('token', [NEW]);
  certificate('new');
  clients(other);
  settings([`api: { listen: "127.0.0.1:${await freePort()}" }`, 'udp-timeout: 1m']);
  t.match(await reload(hub), {
    changed: ['udp-timeout'],
    files: ['secret-file', 'clients', 'cert-file', 'key-file', 'api-token-file'],
    restart: ['api'],
    level: 'warn',
  });
  t.equal(await ending(visitor), 'reset', 'a port that is not the client’s any more');
  await hub.event('published', { mapping: `tcp/${other}` });
  t.match([(await ask(api, OLD)).status, await ask(api, NEW)], [401, { status: 200, name: 'new' }]);
  await agent(['-name=stranger'], 'the new one').event('registered', { state: 'active' });

  settings([`api: { listen: "127.0.0.1:${api}" }`, 'api-rate: "2"', 'udp-timeout: 1m']);
  t.match(await reload(hub), { changed: ['api-rate'], restart: [], level: 'info' });
  const statuses = new Set<number>();
  for (let n = 0; n < 4; n++) statuses.add((await ask(api, NEW)).status);
  t.ok(statuses.has(429));
  settings([`api: { listen: "127.0.0.1:${api}" }`, 'api-allow: 192.0.2.0/24']);
  t.match(await reload(hub), { changed: ['udp-timeout', 'api-allow', 'api-rate'] });
  t.equal((await ask(api, NEW)).status, 403);

  const before = hub.log.length;
  write('token', ['short']);
  settings([`api: { listen: "127.0.0.1:${api}" }`]);
  hub.child.kill('SIGHUP');
  await hub.event('reload_failed', {}, { skip: before });
  t.equal((await ask(api, NEW)).status, 403, 'a bad file changes nothing');
});

test('SIGHUP at an agent: its secret, and what may be reached', async (t) => {
  const folder = temporaryFolder(t);
  const write = writerIn(folder);
  const [listen, open, echo] = [await freePort(), await freePort(), await echoServer(t)];
  write('hub.secret', ['the old one']);
  write('agent.secret', ['the old one']);
  const settings = (allow: string): void =>
    write('agent.yaml', [`server: 127.0.0.1:${listen}`, `state-dir: ${folder}`, 'secret-file: agent.secret', `allow: ${allow}`]);
  settings(`127.0.0.1:${echo}`);
  const hub = startQtunnel(
    t,
    [
      'hub',
      `-listen=127.0.0.1:${listen}`,
      `-api=127.0.0.1:${await freePort()}`,
      '-ports=127.0.0.1:10000-30000',
      `-state-dir=${temporaryFolder(t)}`,
      `-secret-file=${folder}/hub.secret`,
    ],
    { secret: null },
  );
  const { url } = await hub.event('api');
  const agent = startQtunnel(t, ['agent', `-conf=${folder}/agent.yaml`], { secret: null });
  await hub.event('agent_here');
  const mapping = { method: 'POST', headers: { 'content-type': 'application/json' } };
  const body = JSON.stringify({ port: open, target: `127.0.0.1:${echo}` });
  t.equal((await fetch(`${String(url)}/api/v1/mappings`, { ...mapping, body })).status, 201);
  const visitor = await dial(t, open);
  t.ok(await echoes(visitor, 'allowed'));

  settings('127.0.0.1:1');
  t.match(await reload(agent), { changed: ['allow'], files: ['secret-file'], restart: [] });
  const problem = async (): Promise<string | null> =>
    ((await (await fetch(`${String(url)}/api/v1/mappings/tcp/${open}`)).json()) as { problem: string | null }).problem;
  await eventually('the hub to hear of it', async () => (await problem()) !== null);
  t.match(await problem(), /offers/);
  t.ok(await echoes(visitor, 'what is open goes on'));
  settings(`127.0.0.1:${echo}`);
  await reload(agent);
  await eventually('the hub to hear of it', async () => (await problem()) === null);

  write('hub.secret', ['the new one', 'the old one']);
  await reload(hub);
  write('agent.secret', ['the new one']);
  const skip = agent.log.length;
  await reload(agent);
  await agent.event('registered', { state: 'active' }, { skip });
  write('hub.secret', ['the new one']);
  await reload(hub);
  t.ok(await echoes(await dial(t, open), 'the new one'));
  t.equal(hub.events('handshake_failed').length, 0);
});

function writerIn(folder: string) {
  return (name: string, lines: readonly string[]): void =>
    writeFileSync(path.join(folder, name), `${lines.join('\n')}\n`, { mode: 0o600 });
}

/** What the log says has been taken over. */
async function reload(process: Qtunnel): Promise<LogLine> {
  const skip = process.log.length;
  process.child.kill('SIGHUP');
  await process.event('reloaded', {}, { skip });
  return await process.event('taken_over', {}, { skip });
}

/** Asks the API over a new connection; also the name in the certificate that it shows. */
async function ask(port: number, token: string): Promise<{ readonly status: number; readonly name: string }> {
  const sent = request({
    host: '127.0.0.1',
    port,
    path: '/api/v1/stats',
    agent: false,
    rejectUnauthorized: false,
    headers: { authorization: `Bearer ${token}` },
  });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const name = (response.socket as TLSSocket).getPeerCertificate().subject['CN'];
  response.resume();
  return { status: response.statusCode ?? 0, name: String(name) };
}
