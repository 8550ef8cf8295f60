import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathOf } from '../../test/support/programs.ts';
import { freePort } from '../../test/support/tcp.ts';
import type { Contender } from '../contender.ts';
import { listening } from '../listening.ts';

/** ssh -L to an sshd of its own: all connections in one, encrypted by one thread. */
export const ssh: Contender = {
  name: 'ssh -L',
  needs: { sshd: 'openssh-server', ssh: 'openssh-client', 'ssh-keygen': 'openssh-client' },
  start: async ({ site, backendPort, folder, run }) => {
    for (const key of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
    copyFileSync(join(folder, 'user.pub'), join(folder, 'authorized'));
    for (const file of ['host', 'user', 'authorized']) chmodSync(join(folder, file), 0o600);
    // Debian's sshd wants this folder even when it is not the system's.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });

    const [middle, port] = [await freePort(), await freePort()];
    const settings = [
      `ListenAddress=${site.server.address}:${middle}`,
      `HostKey=${join(folder, 'host')}`,
      `AuthorizedKeysFile=${join(folder, 'authorized')}`,
      'PidFile=none',
      'StrictModes=no',
      'UsePAM=no',
      'PasswordAuthentication=no',
      'PermitRootLogin=prohibit-password',
    ];
    await listening(run('server', pathOf('sshd'), ['-D', '-e', '-f', '/dev/null', ...options(settings)]), middle);
    const settingsOfClient = [
      'BatchMode=yes',
      'LogLevel=ERROR',
      'ExitOnForwardFailure=yes',
      'StrictHostKeyChecking=accept-new',
      `UserKnownHostsFile=${join(folder, 'known')}`,
      'Ciphers=aes128-gcm@openssh.com',
      'Compression=no',
    ];
    const identity = ['-F', '/dev/null', '-i', join(folder, 'user'), '-p', `${middle}`];
    const forward = ['-N', '-L', `127.0.0.1:${port}:127.0.0.1:${backendPort}`];
    await listening(run('client', 'ssh', [...identity, ...options(settingsOfClient), ...forward, site.server.address]), port);
    return { host: '127.0.0.1', port };
  },
};

function options(settings: readonly string[]): string[] {
  return settings.flatMap((setting) => ['-o', setting]);
}
