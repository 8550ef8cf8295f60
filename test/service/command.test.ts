import { test } from 'tap';
import { qtunnel } from '../cli/command.ts';

test("another platform's manager only prints", { skip: process.platform !== 'linux' && 'Linux has systemd' }, async (t) => {
  for (const manager of ['launchd', 'windows']) {
    const { code, stdout, stderr } = await qtunnel(t, ['service', 'install', `-manager=${manager}`, '-quic']);
    t.match({ code, stdout }, { code: 2, stdout: '' });
    t.match(stderr, `-manager=${manager}: ${manager} does not run services on this platform; -dry-run prints`);
  }
  const { stdout, stderr } = await qtunnel(t, ['service', 'install', '-manager=systemd', '-quic', '-dry-run']);
  t.match(stdout, /^# Made by qtunnel service install/);
  t.match(stderr, /would write this into \/etc\/systemd\/system\/qtunnel.service, and run\n(  .*\n)*  systemctl restart qtunnel\n/);
});
