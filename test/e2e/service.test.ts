import { test } from 'tap';
import { failThere, missingForSystemd, runThere, startSystemd, THERE } from '../support/systemd.ts';

test(
  'a service is installed, works as its own user with no more rights than it needs, reloads, and is removed',
  { skip: missingForSystemd() },
  async (t) => {
    const machine = await startSystemd(t, process.cwd());
    const there = (line: string): Promise<string> => runThere(t, machine, line.split(' '));
    await there('mkdir -m 755 /etc/qtunnel');
    await runThere(t, machine, ['sh', '-c', 'umask 077; echo a-secret-of-many-letters > /etc/qtunnel/secret']);

    const server = `${THERE} service install -quic -listen=:443 -backend=127.0.0.1:9090 -metrics=127.0.0.1:9090 -secret-file=/etc/qtunnel/secret`;
    const refused = await failThere(t, machine, server);
    t.match(refused, /nothing is installed: .* cannot read \/etc\/qtunnel\/secret: chown qtunnel \/etc\/qtunnel\/secret/);
    await there('chown qtunnel /etc/qtunnel/secret');
    t.match(await there(server), /qtunnel runs/);
    t.match(
      await there(
        `${THERE} service install -name=client -clientmode -quic -listen=127.0.0.1:8080 -backend=127.0.0.1:443 -secret-file=/etc/qtunnel/secret`,
      ),
      /qtunnel-client runs/,
    );

    t.equal(await there('curl -s --retry 5 --retry-all-errors http://127.0.0.1:8080/healthz'), 'ok', 'through both services');
    const pid = /MainPID=(\d+)/.exec(await there('systemctl show -p MainPID qtunnel'))?.[1];
    const ofProcess = await there(`cat /proc/${pid}/status`);
    t.match(ofProcess, /CapBnd:\s+0000000000000400\n/, 'CAP_NET_BIND_SERVICE alone');
    t.match(ofProcess, /NoNewPrivs:\s+1\nSeccomp:\s+2/);
    const uid = await there('id -u qtunnel');
    t.match(ofProcess, new RegExp(`Uid:\\s+${uid}\\s`));
    t.not(uid, '0');

    await there('systemctl reload qtunnel');
    t.match(
      await there('systemctl show -p MainPID,ActiveState,NRestarts qtunnel'),
      new RegExp(`MainPID=${pid}\\nNRestarts=0\\nActiveState=active`),
    );
    t.match(await there(`${THERE} service status`), /Active: active \(running\)/);
    t.match(await there(`${THERE} service uninstall`), /stopped and removed/);
    t.match(await failThere(t, machine, `${THERE} service status`), /there is no service qtunnel/);
    t.match(await there(`${THERE} service status -name=client`), /Active: active/, 'the other one runs on');
  },
);
