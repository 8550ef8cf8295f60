import { test, type Test } from 'tap';
import { missingForNamespaces } from '../support/programs.ts';
import { temporaryFolder } from '../support/files.ts';
import { cabledNamespaces } from '../support/netns.ts';
import { run, start } from '../support/process.ts';
import { type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { serverFolder } from '../support/server-folder.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';

interface Started {
  readonly process: Qtunnel;
  readonly port: number;
  readonly stateDir: string;
}

async function hub(t: Test, flags: readonly string[], { port = 0, stateDir = '' } = {}): Promise<Started> {
  const started = { port: port === 0 ? await freePort() : port, stateDir: stateDir === '' ? serverFolder(t) : stateDir };
  const process = startQtunnel(t, ['hub', `-listen=127.0.0.1:${started.port}`, `-state-dir=${started.stateDir}`, ...flags]);
  await process.event('listening');
  return { process, ...started };
}

function agent(t: Test, { port }: Started, flags: readonly string[]): Qtunnel {
  return startQtunnel(t, ['agent', `-server=127.0.0.1:${port}`, `-state-dir=${temporaryFolder(t)}`, ...flags]);
}

test('hub and agent: -R, the hub killed with -9 and back, the agent killed and back, metrics, an orderly end', async (t) => {
  const [echo, open] = [await echoServer(t), await freePort()];
  const ports = '-ports=127.0.0.1:10000-30000';
  const first = await hub(t, [ports]);
  const wish = ['-name=box', '-R', `${open}:127.0.0.1:${echo}`];
  const inside = agent(t, first, wish);
  await inside.event('port_open', { mapping: `tcp/${open}` });
  const client = await dial(t, open);
  t.ok(await echoes(client, 'hello'));

  await first.process.kill('SIGKILL');
  await ending(client);
  const second = await hub(t, [ports, '-drain-timeout=2s', `-metrics=127.0.0.1:${await freePort()}`], first);
  await second.process.event('published', { mapping: `tcp/${open}` });
  const visitor = await dial(t, open);
  t.ok(await echoes(visitor, 'the hub is back'));
  visitor.end();
  await second.process.event('stream_closed');

  await inside.kill('SIGKILL');
  const again = agent(t, first, wish);
  await again.event('port_open', { mapping: `tcp/${open}` });
  const last = await dial(t, open);
  t.ok(await echoes(last, 'the agent is back'));

  const { address } = await second.process.event('metrics');
  const metrics = await (await fetch(`http://${String(address)}/metrics`)).text();
  t.match(metrics, new RegExp(`qtunnel_hub_mapping_ready\\{mapping="tcp/${open}"\\} 1`));
  t.match(metrics, new RegExp(`qtunnel_hub_mapping_connections\\{mapping="tcp/${open}"\\} 1`));
  t.match(metrics, /qtunnel_hub_agents 1/);

  const ended = again.kill('SIGTERM');
  await second.process.event('withdrawn', { mapping: `tcp/${open}` });
  t.ok(await echoes(last, 'what is open goes on'));
  last.end();
  t.equal((await ended).code, 0);
  t.equal((await second.process.kill('SIGTERM')).code, 0);
});

test('SIGTERM at a hub does not wait for the link of an agent that was killed', async (t) => {
  const [echo, open] = [await echoServer(t), await freePort()];
  const outer = await hub(t, ['-ports=127.0.0.1:10000-30000', '-drain-timeout=10m']);
  const inner = agent(t, outer, ['-R', `${open}:127.0.0.1:${echo}`, '-fallback=false']);
  await inner.event('port_open');
  const visitor = await dial(t, open);
  t.ok(await echoes(visitor, 'hello'));
  visitor.end();
  await outer.process.event('stream_closed');
  await inner.kill('SIGKILL');
  t.equal((await outer.process.kill('SIGTERM')).code, 0);
  await outer.process.event('stopped', { drained: true });
});

test(
  'in namespaces: a web server that only the agent reaches, through the hub',
  { skip: missingForNamespaces('curl') },
  async (t) => {
    // The client and the hub are outside; the agent and the server are inside, where nothing from outside is let in.
    const [outside, inside] = await cabledNamespaces(t);
    await run(
      t,
      'nft',
      [
        'table inet closed { chain input { type filter hook input priority 0; ct state established,related accept; iif "lo" accept; drop; }; }',
      ],
      {
        prefix: inside.prefix,
      },
    );
    const script = `require('http').createServer((q, r) => r.end('from inside')).listen(8000, '127.0.0.1', () => console.log('ready'))`;
    const web = start(t, process.execPath, ['-e', script], { prefix: inside.prefix });
    await web.line(/ready/);
    const outer = startQtunnel(t, ['hub', '-listen=:9000', '-ports=10000-10100', `-state-dir=${temporaryFolder(t)}`], {
      prefix: outside.prefix,
    });
    await outer.event('listening');
    const inner = startQtunnel(
      t,
      ['agent', `-server=${outside.address}:9000`, '-R', '10080:127.0.0.1:8000', `-state-dir=${temporaryFolder(t)}`],
      {
        prefix: inside.prefix,
      },
    );
    await inner.event('port_open');
    t.equal(await run(t, 'curl', ['-s', `http://${outside.address}:10080/`], { prefix: outside.prefix }), 'from inside');
    await t.rejects(run(t, 'curl', ['-s', '-m', '1', `http://${inside.address}:8000/`], { prefix: outside.prefix }), 'not without');
  },
);
