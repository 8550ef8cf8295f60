import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { parse, stringify } from 'yaml';
import { readFlags } from '../../src/cli/arguments.ts';
import { AGENT_FLAGS, HUB_FLAGS } from '../../src/hub/flags.ts';
import { settleAgent, settleHub } from '../../src/hub/settings.ts';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { startQtunnel } from '../support/qtunnel.ts';
import { freePort } from '../support/tcp.ts';

const FOLDER = 'docs/deploy';

test(
  'Prometheus understands its configuration and the rules, which fire when they should',
  { skip: missing('promtool') },
  async (t) => {
    const options = { cwd: FOLDER };
    t.match(await run(t, 'promtool', ['check', 'config', 'prometheus.yaml'], options), 'SUCCESS');
    t.match(await run(t, 'promtool', ['check', 'rules', 'alerts.yaml'], options), '3 rules found');
    t.match(await run(t, 'promtool', ['test', 'rules', 'alerts.test.yaml'], options), 'SUCCESS');
  },
);

test('Prometheus understands every expression of the dashboard', { skip: missing('promtool') }, async (t) => {
  const expressions = panels().flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const rules = expressions.map((expr, index) => ({
    record: `expression:${index}`,
    expr: expr.replaceAll('$__rate_interval', '5m'),
  }));
  const file = path.join(temporaryFolder(t), 'rules.yaml');
  writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules }] }));
  t.match(await run(t, 'promtool', ['check', 'rules', file]), `${expressions.length} rules found`);
});

test('every metric that the rules and the dashboard name is one of a running hub or agent', async (t) => {
  const [listen, metrics, open] = [await freePort(), await freePort(), await freePort()];
  const server = `127.0.0.1:${listen}`;
  const ports = `-ports=127.0.0.1:${open}`;
  const hub = startQtunnel(t, [
    'hub',
    `-listen=${server}`,
    ports,
    `-metrics=127.0.0.1:${metrics}`,
    `-state-dir=${temporaryFolder(t)}`,
  ]);
  await hub.event('listening');
  startQtunnel(t, ['agent', `-server=${server}`, `-R=${open}:127.0.0.1:9`, `-state-dir=${temporaryFolder(t)}`]);
  await hub.event('published');
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  const there = new Set([...text.matchAll(/^([a-z_]+)[{ ]/gm)].map(([, name]) => name));
  const named = [readFileSync(path.join(FOLDER, 'alerts.yaml'), 'utf8'), JSON.stringify(panels())].flatMap((file) => [
    ...new Set(file.match(/\b(qtunnel|process)_[a-z_]+/g)),
  ]);
  t.ok(named.length > 10);
  for (const name of named) t.ok(there.has(name), name);
});

test('the compose file: commands that are understood, files that are there, no rights to spare', async (t) => {
  const { services } = parse(readFileSync(path.join(FOLDER, 'compose.yaml'), 'utf8')) as { services: Record<string, Service> };
  const [, ...hub] = services['hub']!.command!;
  const [, ...agent] = services['agent']!.command!;
  t.match(settleHub(readFlags(hub, { flags: HUB_FLAGS, help: '' }), {}).tunnels[0], { ports: { first: 10_000, last: 10_100 } });
  t.match(settleAgent(readFlags(agent, { flags: AGENT_FLAGS, help: '' }), {}).tunnels[0], { wishes: [{ port: 10_080 }] });
  for (const name of ['hub', 'agent']) {
    t.match(services[name], { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] }, name);
  }
  const mounted = Object.values(services).flatMap(({ volumes = [] }) => volumes.filter((volume) => volume.startsWith('./')));
  t.ok(mounted.length > 3);
  for (const volume of mounted) t.ok(existsSync(path.join(FOLDER, volume.split(':')[0]!)), volume);
});

test('the Dockerfile: copies what is there, runs as no root, tells its health, and takes no secret', async (t) => {
  const text = readFileSync(path.join(FOLDER, 'Dockerfile'), 'utf8');
  const copied = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names = '']) => names.split(' '));
  t.ok(copied.length > 4);
  const admitted = readFileSync(path.join(FOLDER, 'Dockerfile.dockerignore'), 'utf8');
  t.match(admitted, /^\*$/m);
  for (const name of copied) {
    t.ok(existsSync(name), name);
    t.match(admitted, new RegExp(`^!${name}$`, 'm'), `${name} is sent to the builder`);
  }
  t.match(text, /^USER node$/m);
  t.match(text, /^HEALTHCHECK .*\n.*\/healthz/m);
  t.notMatch(text, /SECRET|ADD |^ARG /m);
});

interface Service {
  readonly command?: readonly string[];
  readonly volumes?: readonly string[];
}

function panels(): { readonly targets: readonly { readonly expr: string }[] }[] {
  const dashboard = JSON.parse(readFileSync(path.join(FOLDER, 'grafana/qtunnel.json'), 'utf8')) as {
    panels: ReturnType<typeof panels>;
  };
  return dashboard.panels;
}
