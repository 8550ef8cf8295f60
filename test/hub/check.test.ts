import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { parse } from 'yaml';
import { qtunnel } from '../cli/command.ts';

test('-check of a hub prints a file that means the same, secrets masked, and opens nothing', async (t) => {
  const folder = t.testdir({
    token: 'a-token-of-the-api-file',
    'clients.yaml': 'clients:\n  box: { secret: hush-hush, ports: none }\n',
  });
  const file = path.join(folder, 'hub.yaml');
  writeFileSync(
    file,
    'port_range: { from: 10000, end: 10010 }\napi: { listen_port: 8080 }\ndatabase: { path: hub.db }\nclients: clients.yaml\napi-token-file: token\napi-allow: 10.0.0.0/8,192.0.2.1\nudp-timeout: 30s\nlog-level: warn\nsupervise: "true"\n',
  );
  const first = await qtunnel(t, ['hub', '-check', `-conf=${file}`]);
  t.equal(first.code, 0, first.stderr);
  t.notMatch(first.stdout, /hush-hush|a-token/);
  t.match(first.stdout, '# Clients: box.');
  const printed = parse(first.stdout) as Record<string, unknown>;
  t.match(printed, {
    ports: '10000-10010',
    tunnel: { enabled: true },
    api: { listen: '127.0.0.1:8080' },
    database: { path: path.join(folder, 'hub.db') },
    'api-allow': '10.0.0.0/8,192.0.2.1/32',
    'udp-timeout': '30s',
    'log-level': 'warn',
    supervise: true,
  });
  writeFileSync(file, first.stdout);
  t.same(parse((await qtunnel(t, ['hub', '-check', `-conf=${file}`])).stdout), printed);
  t.same(readdirSync(folder).toSorted(), ['clients.yaml', 'hub.yaml', 'token']);

  const url = await qtunnel(t, ['hub', '-check', '-database=postgres://hub:hush-hush@db/hub', '-secret=hush-hush']);
  t.notMatch(url.stdout, 'hush-hush');
  t.match(parse(url.stdout), { secret: '******', database: { url: '******' } });
  t.match(url.stderr, /^qtunnel: warning: -secret: /);
  writeFileSync(path.join(folder, 'token'), 'short');
  const bad = await qtunnel(t, ['hub', '-check', `-conf=${file}`]);
  t.same([bad.code, bad.stdout], [2, '']);
  t.match(bad.stderr, /token.* holds no token/);
});

test('-check of an agent', async (t) => {
  const folder = t.testdir({ secret: 'hush-hush\n' });
  const file = path.join(folder, 'agent.yaml');
  const words = ['-server=hub:9000', '-R', '10022:127.0.0.1:22', '-R=10053:[::1]:53/udp', '-name=box', '-secret-file=secret'];
  const first = await qtunnel(t, ['agent', '-check', ...words], {}, { cwd: folder });
  t.equal(first.code, 0, first.stderr);
  t.match(parse(first.stdout), {
    server: 'hub:9000',
    R: '10022:127.0.0.1:22,10053:[::1]:53/udp',
    allow: 'localhost:*',
    name: 'box',
    'secret-file': 'secret',
  });
  writeFileSync(file, first.stdout);
  const again = await qtunnel(t, ['agent', '-check', `-conf=${file}`]);
  t.equal(again.code, 0, again.stderr);
  t.match(parse(again.stdout), { R: '10022:127.0.0.1:22,10053:[::1]:53/udp' });
  t.equal((await qtunnel(t, ['agent', '-check', '-server=hub:9000', '-secret-file=none'])).code, 1);
});

test('-workers is refused, and it is said why', async (t) => {
  for (const [words, why] of [
    [['hub', '-workers=2'], /qtunnel hub, which works on one thread: several hubs may share/],
    [['agent', '-server=h:1', '--workers', '2'], /qtunnel agent, which works on one thread: several agents/],
  ] as const) {
    const { code, stderr } = await qtunnel(t, words);
    t.equal(code, 2);
    t.match(stderr, why);
  }
});
