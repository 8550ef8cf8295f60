import { test } from 'tap';
import { temporaryFolder } from '../support/files.ts';
import { startQtunnel } from '../support/qtunnel.ts';
import { childOf, endWithChildren } from '../support/supervised.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';

test('the children of a hub and of its agent are killed with -9: ports and mappings are back; what comes meanwhile waits', async (t) => {
  const [listen, api, own, direct] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const echo = await echoServer(t);
  const hub = startQtunnel(t, [
    'hub',
    '-supervise',
    `-listen=127.0.0.1:${listen}`,
    `-api=127.0.0.1:${api}`,
    '-ports=127.0.0.1:10000-30000',
    `-state-dir=${temporaryFolder(t)}`,
  ]);
  endWithChildren(t, hub);
  await hub.event('api');
  const wish = `${own}:127.0.0.1:${echo}`;
  const agent = startQtunnel(t, [
    'agent',
    '-supervise',
    `-server=127.0.0.1:${listen}`,
    '-name=box',
    '-R',
    wish,
    `-state-dir=${temporaryFolder(t)}`,
  ]);
  endWithChildren(t, agent);
  await agent.event('port_open');
  const mapping = { port: direct, target: `127.0.0.1:${echo}`, via: 'direct' };
  const headers = { 'content-type': 'application/json' };
  const made = await fetch(`http://127.0.0.1:${api}/api/v1/mappings`, { method: 'POST', headers, body: JSON.stringify(mapping) });
  t.equal(made.status, 201);
  const open = [await dial(t, own), await dial(t, direct)];
  for (const socket of open) t.ok(await echoes(socket, 'hello'));

  const told = agent.log.length;
  process.kill(childOf(hub), 'SIGKILL');
  await Promise.all(open.map(ending));
  const waited = await dial(t, direct);
  t.ok(await echoes(waited, 'it waited for the next child'));
  await agent.event('registered', { state: 'active' }, { skip: told });
  t.ok(await echoes(await dial(t, own), 'the hub is back'));

  const heard = hub.log.length;
  process.kill(childOf(agent), 'SIGKILL');
  await hub.event('agent_here', { agent: 'box' }, { skip: heard });
  const last = await dial(t, own);
  t.ok(await echoes(last, 'the agent is back'));

  hub.child.kill('SIGUSR2');
  t.match(await hub.event('upgrade_failed'), { msg: /only one process has the public ports.*restart it instead/ });
  agent.child.kill('SIGUSR2');
  t.match(await agent.event('upgrade_failed'), { msg: /followed by another one of its name/ });
  t.ok(await echoes(last, 'what is open goes on'));
  for (const socket of [waited, last]) socket.destroy();
  for (const one of [agent, hub]) {
    one.child.kill('SIGTERM');
    t.equal((await one.end()).code, 0);
  }
});
