import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Program } from '../../test/support/process.ts';
import { missing } from '../../test/support/programs.ts';
import { freePort } from '../../test/support/tcp.ts';
import { assemble } from '../assemble.ts';
import type { Contender } from '../contender.ts';

/** TLS in C, one connection for each: the distance to a tunnel that does the least. */
export const stunnel: Contender = {
  name: 'stunnel',
  available: () => missing('stunnel', 'openssl') || null,
  start: (backendPort) =>
    assemble(async ({ folder, add }) => {
      const certificate = makeCertificate(folder);
      const [middle, port] = [await freePort(), await freePort()];
      const run = async (role: string, service: readonly string[]) => {
        const program = add(new Program('stunnel', [writeConfiguration(folder, role, service)], {}));
        await program.line(/Configuration successful/);
      };
      await run('server', [...certificate, `accept = 127.0.0.1:${middle}`, `connect = 127.0.0.1:${backendPort}`]);
      await run('client', ['client = yes', `accept = 127.0.0.1:${port}`, `connect = 127.0.0.1:${middle}`]);
      return port;
    }),
};

function makeCertificate(folder: string): string[] {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const made = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-keyout',
    key,
    '-out',
    cert,
  ];
  execFileSync('openssl', made, { stdio: 'ignore' });
  return [`cert = ${cert}`, `key = ${key}`];
}

function writeConfiguration(folder: string, role: string, service: readonly string[]): string {
  const file = join(folder, `${role}.conf`);
  writeFileSync(file, [...COMMON, `[${role}]`, 'sslVersion = TLSv1.3', ...service, ''].join('\n'));
  return file;
}

const COMMON = ['foreground = yes', 'pid =', 'debug = notice', 'socket = l:TCP_NODELAY=1', 'socket = r:TCP_NODELAY=1'];
