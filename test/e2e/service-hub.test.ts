import { test } from 'tap';
import { failThere, missingForSystemd, runThere, startSystemd, THERE } from '../support/systemd.ts';

test('a hub with its database and an agent work as services', { skip: missingForSystemd() }, async (t) => {
  const machine = await startSystemd(t, process.cwd());
  const there = (line: string): Promise<string> => runThere(t, machine, line.split(' '));
  await there('mkdir -m 755 /etc/qtunnel');
  await runThere(t, machine, ['sh', '-c', 'umask 077; echo a-secret-of-many-letters > /etc/qtunnel/secret']);
  const secret = '-secret-file=/etc/qtunnel/secret';
  // Makes the user.
  t.match(await failThere(t, machine, `${THERE} service install hub ${secret}`), /chown qtunnel/);
  await there('chown qtunnel /etc/qtunnel/secret');

  const hub = `${THERE} service install hub -listen=:9000 -api=127.0.0.1:8080 -metrics=127.0.0.1:9090 ${secret}`;
  t.match(await there(hub), /qtunnel-hub runs/);
  const agent = `${THERE} service install agent -server=127.0.0.1:9000 -R=10080:127.0.0.1:9090 ${secret}`;
  t.match(await there(agent), /qtunnel-agent runs/);
  const curl = 'curl -s --retry 10 --retry-all-errors --retry-delay 1';
  t.equal(await there(`${curl} http://127.0.0.1:10080/healthz`), 'ok', 'through the public port and the agent');
  t.match(await there(`${THERE} mapping list`), /10080/);
  t.match(await there('ls /var/lib/qtunnel-hub'), /hub\.db/);
});
