import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { run, start } from '../support/process.ts';
import { missing, pathOf } from '../support/programs.ts';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import { dial, freePort } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: nginx sees the application's address`, { skip: missing('nginx', 'curl') }, async (t) => {
    await seesTheAddress(t, mode, await startNginx(t));
  });

  test(`${mode}: haproxy sees the application's address`, { skip: missing('haproxy', 'curl') }, async (t) => {
    await seesTheAddress(t, mode, await startHaproxy(t));
  });
}

/** Two requests of one connection, from an address that the tunnel itself does not use. */
async function seesTheAddress(t: Test, mode: 'quic' | 'tls', backend: number): Promise<void> {
  const { port } = await startTunnel(t, mode, backend, { serverFlags: ['-proxy-protocol'] });
  const url = `http://127.0.0.1:${port}/`;
  const args = ['--silent', '--show-error', '--max-time', '60', '--interface', '127.0.0.77', '--local-port', '30100-60000'];
  const said = await run(t, 'curl', [...args, '-w', '%{local_port}\n', url, url]);
  const [first, second] = said.trim().split('\n');
  t.match(first, /^127\.0\.0\.77 (\d+) 127\.0\.0\.1 \d+ \1$/, said);
  t.equal(first?.split(' ')[3], `${port}`);
  t.match(second, /^127\.0\.0\.77 /);
}

async function startNginx(t: Test): Promise<number> {
  const port = await freePort();
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'tmp'));
  chmodSync(folder, 0o755);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp/${name};`);
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const said = '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port ';
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; pid ${folder}/pid; error_log stderr; ${user}
     events {}
     http { access_log off; ${temporary.join(' ')} server { listen 127.0.0.1:${port} proxy_protocol; return 200 "${said}"; } }`,
  );
  const nginx = start(t, pathOf('nginx'), ['-c', join(folder, 'nginx.conf'), '-p', folder]);
  // A worker outlives a master that is killed; QUIT takes both along.
  t.teardown(() => nginx.kill('SIGQUIT'));
  await eventually('nginx listens', () => dial(t, port).catch(() => false));
  return port;
}

async function startHaproxy(t: Test): Promise<number> {
  const port = await freePort();
  const file = join(temporaryFolder(t), 'haproxy.cfg');
  writeFileSync(
    file,
    `defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
frontend seen
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port] "
`,
  );
  start(t, pathOf('haproxy'), ['-db', '-f', file]);
  await eventually('haproxy listens', () => dial(t, port).catch(() => false));
  return port;
}
