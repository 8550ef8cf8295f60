import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../test/support/process.ts';
import { pathOf } from '../../test/support/programs.ts';
import { freePort } from '../../test/support/tcp.ts';
import type { Contender, End, Stage } from '../contender.ts';
import { listening } from '../listening.ts';

/** ssh -L to an sshd of its own: all connections in one, encrypted by one thread. */
export const ssh: Contender = {
  name: 'ssh -L',
  needs: { sshd: 'openssh-server', ssh: 'openssh-client', 'ssh-keygen': 'openssh-client' },
  start: async (stage) => {
    const port = await freePort();
    const middle = await startDaemon(stage, 'server');
    const client = startClient(stage, 'client', middle, ['-L', `127.0.0.1:${port}:127.0.0.1:${stage.backendPort}`]);
    await listening(client, port);
    return { host: '127.0.0.1', port };
  },
};

/** ssh -R from inside to an sshd on the public server. */
export const sshReverse: Contender = {
  name: 'ssh -R',
  needs: { sshd: 'openssh-server', ssh: 'openssh-client', 'ssh-keygen': 'openssh-client' },
  start: async (stage) => {
    const port = await freePort();
    const middle = await startDaemon(stage, 'client', ['GatewayPorts=yes']);
    startClient(stage, 'server', middle, ['-R', `${port}:127.0.0.1:${stage.backendPort}`]);
    await listening(middle.sshd, port);
    return { host: stage.site.client.address, port };
  },
};

interface Daemon {
  readonly sshd: Program;
  readonly address: string;
  readonly port: number;
}

async function startDaemon({ site, folder, run }: Stage, end: End, more: readonly string[] = []): Promise<Daemon> {
  for (const key of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
  copyFileSync(join(folder, 'user.pub'), join(folder, 'authorized'));
  for (const file of ['host', 'user', 'authorized']) chmodSync(join(folder, file), 0o600);
  // Debian's sshd wants this folder even when it is not the system's.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });

  const [{ address }, port] = [site[end], await freePort()];
  const settings = [
    `ListenAddress=${address}:${port}`,
    `HostKey=${join(folder, 'host')}`,
    `AuthorizedKeysFile=${join(folder, 'authorized')}`,
    'PidFile=none',
    'StrictModes=no',
    'UsePAM=no',
    'PasswordAuthentication=no',
    'PermitRootLogin=prohibit-password',
    ...more,
  ];
  const sshd = run(end, pathOf('sshd'), ['-D', '-e', '-f', '/dev/null', ...options(settings)]);
  await listening(sshd, port);
  return { sshd, address, port };
}

function startClient({ folder, run }: Stage, end: End, { address, port }: Daemon, forward: readonly string[]): Program {
  const settings = [
    'BatchMode=yes',
    'LogLevel=ERROR',
    'ExitOnForwardFailure=yes',
    'StrictHostKeyChecking=accept-new',
    `UserKnownHostsFile=${join(folder, 'known')}`,
    'Ciphers=aes128-gcm@openssh.com',
    'Compression=no',
  ];
  const identity = ['-F', '/dev/null', '-i', join(folder, 'user'), '-p', `${port}`];
  return run(end, 'ssh', [...identity, ...options(settings), '-N', ...forward, address]);
}

function options(settings: readonly string[]): string[] {
  return settings.flatMap((setting) => ['-o', setting]);
}
