import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type Test } from 'tap';
import { openStore } from '../../src/hub/store/open.ts';
import { callApi } from '../hub/support/api.ts';
import { ANNA, kept } from '../hub/support/mappings.ts';
import { missingPostgres, startPostgres } from '../hub/support/postgres.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { Program } from '../support/process.ts';
import { COMMAND, type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, freePort } from '../support/tcp.ts';

const PORTS = '-ports=127.0.0.1:10000-30000';

test('a mapping from the shell, through an agent; the hub killed with -9 is back with it and its counters', async (t) => {
  const [echo, open, stateDir] = [await echoServer(t), await freePort(), temporaryFolder(t)];
  const first = await startHub(t, [`-state-dir=${stateDir}`]);
  startAgent(t, first.port);
  await first.process.event('agent_here');

  const made = await qtunnel(t, first, ['mapping', 'create', `-port=${open}`, `-target=127.0.0.1:${echo}`, '-note=echo']);
  t.match(made.stdout, new RegExp(`^PORT .*\\ntcp/${open} +127.0.0.1:${echo} +any agent +ready `));
  const visitor = await dial(t, open);
  t.ok(await echoes(visitor, 'hello'));
  t.match((await qtunnel(t, first, ['agents'])).stdout, /^AGENT .*\nbox +127\.0\.0\.1:\d+ +QUIC /);
  visitor.end();
  await eventually('the counters are written', async () => {
    const { clients } = (await first.call('GET', `/api/v1/mappings/tcp/${open}/clients`)).body;
    return clients[0]?.traffic.bytes_out === 5;
  });

  await first.process.kill('SIGKILL');
  const second = await startHub(t, [`-state-dir=${stateDir}`], first);
  t.match((await second.call('GET', '/api/v1/mappings')).body, {
    mappings: [{ port: open, note: 'echo', traffic: { connections: 1, bytes_in: 5, bytes_out: 5 } }],
  });
  await second.process.event('agent_here');
  t.ok(await echoes(await dial(t, open), 'the hub is back'));

  t.equal((await qtunnel(t, second, ['mapping', 'remove', `-port=${open}`])).stdout, `tcp/${open} is gone\n`);
  await t.rejects(dial(t, open));
  t.match((await second.call('GET', '/api/v1/audit')).body, {
    entries: [{ action: 'mapping.remove' }, { action: 'mapping.create' }],
  });
});

test('a database or API that cannot be had: the hub does not start, and says why', async (t) => {
  const folder = temporaryFolder(t);
  const text = path.join(folder, 'text.db');
  writeFileSync(text, 'no database '.repeat(1_000));
  const start = (flags: readonly string[]) => startQtunnel(t, ['hub', '-listen=127.0.0.1:0', `-state-dir=${folder}`, ...flags]);
  const damaged = start([`-database=${text}`]);
  t.equal((await damaged.end()).code, 1);
  t.match(damaged.output, /text\.db cannot be opened \(.*not a database/);
  const open = start(['-api=0.0.0.0:0']);
  t.equal((await open.end()).code, 2);
  t.match(open.output, /there is no token: give -api-token-file/);
  const taken = start([`-api=127.0.0.1:${await echoServer(t)}`]);
  t.equal((await taken.end()).code, 1);
  t.match(taken.output, /another program uses the port/);
});

test(
  'two hubs on one PostgreSQL: what one is told, the other does within a second; without it both go on, and with it again they catch up',
  { skip: missingPostgres() },
  async (t) => {
    const { url, stop, restart } = await startPostgres(t);
    const [echo, open] = [await echoServer(t), await freePort()];
    // Both on one machine, and so each on an address of its own.
    const flags = (address: string) => [
      `-ports=${address}:10000-30000`,
      '-tunnel=false',
      `-database=${url}`,
      `-state-dir=${temporaryFolder(t)}`,
    ];
    const [one, other] = [await startHub(t, flags('127.0.0.1')), await startHub(t, flags('127.0.0.2'))];
    t.equal((await one.call('POST', '/api/v1/mappings', { port: open, target: `127.0.0.1:${echo}` })).status, 201);
    await other.process.event('mapping_published', { mapping: `tcp/${open}` }, { deadline: 1_000 });
    t.ok(await echoes(await dial(t, open), 'here'));
    t.ok(await echoes(await dial(t, open, '127.0.0.2'), 'and there'));

    await stop();
    t.match(await one.call('POST', '/api/v1/mappings', { port: await freePort(), target: '127.0.0.1:1' }), {
      status: 503,
      body: { code: 'DATABASE_FAILED', detail: /database failed and nothing was changed/ },
      headers: { 'retry-after': '5' },
    });
    t.match(await other.call('DELETE', `/api/v1/mappings/tcp/${open}`), { status: 503 });
    t.match((await other.call('GET', '/api/v1/mappings')).body, { mappings: [{ port: open, ready: true }] });
    t.ok(await echoes(await dial(t, open, '127.0.0.2'), 'the database is away, and the port is not'));

    // Changed before either of them has a connection again, as by a third hub.
    await restart();
    const third = await openStore(url);
    t.teardown(() => third.close());
    const [late, own] = [await freePort(), await freePort()];
    await third.addMapping(kept(late, { via: 'direct', target: { host: '127.0.0.1', port: echo } }), ANNA);
    for (const hub of [one, other]) await hub.process.event('mapping_published', { mapping: `tcp/${late}` });
    t.ok(await echoes(await dial(t, late), 'made while nobody listened'));
    t.equal((await one.call('POST', '/api/v1/mappings', { port: own, target: `127.0.0.1:${echo}` })).status, 201);
    await other.process.event('mapping_published', { mapping: `tcp/${own}` }, { deadline: 1_000 });
    t.equal((await other.call('DELETE', `/api/v1/mappings/tcp/${open}`)).status, 204);
  },
);

interface Hub {
  readonly process: Qtunnel;
  /** For agents. */
  readonly port: number;
  readonly api: number;
  readonly call: (method: string, path: string, body?: unknown) => ReturnType<typeof callApi>;
}

async function startHub(t: Test, flags: readonly string[], { port = 0, api = 0 } = {}): Promise<Hub> {
  const own = { port: port === 0 ? await freePort() : port, api: api === 0 ? await freePort() : api };
  const ports = flags.some((flag) => flag.startsWith('-ports')) ? [] : [PORTS];
  const process = startQtunnel(t, ['hub', `-listen=127.0.0.1:${own.port}`, `-api=127.0.0.1:${own.api}`, ...ports, ...flags]);
  await process.event('api');
  return { process, ...own, call: (...words) => callApi(own.api, ...words) };
}

function startAgent(t: Test, hub: number): Qtunnel {
  return startQtunnel(t, ['agent', `-server=127.0.0.1:${hub}`, '-name=box', `-state-dir=${temporaryFolder(t)}`]);
}

/** Runs the command to its end. */
async function qtunnel(t: Test, hub: Hub, words: readonly string[]) {
  const program = new Program(process.execPath, [COMMAND, ...words, `-api=127.0.0.1:${hub.api}`], {});
  t.teardown(() => program.kill());
  const output = { stdout: '', stderr: '' };
  program.child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  program.child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  return { ...(await program.end()), ...output };
}
