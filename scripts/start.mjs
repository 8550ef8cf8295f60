import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { buildIfStale } from './build.mjs';
import { startBackend } from './demo/backend.mjs';
import { startCommand } from './demo/command.mjs';
import { echoLatencies, transferDown, transferUp } from './demo/traffic.mjs';
import { bold, dim, green, red, table } from './demo/text.mjs';
import { runAsScript, setup } from './setup.mjs';

/**
 * Sets everything up, starts a server, two clients (QUIC and TCP mode) and a small backend on this machine, sends real traffic through
 * and shows what happened. Exit 0 when every byte came through, otherwise 1 with the logs of the processes.
 */
async function demo() {
  setup();
  buildIfStale();

  const stateDir = mkdtempSync(join(tmpdir(), 'qtunnel-demo-'));
  const started = [];
  try {
    await show(stateDir, started);
  } catch (error) {
    console.error(red(`The demo failed: ${error.message}`));
    for (const { name, log } of started) console.error(`\n${bold(`Log of the ${name}`)}\n${log()}`);
    process.exitCode = 1;
  } finally {
    await Promise.all(started.map((part) => part.stop()));
    rmSync(stateDir, { recursive: true, force: true });
  }
}

async function show(stateDir, started) {
  const backend = await startBackend();
  started.push(backend);
  const run = (name, flags) => {
    const command = startCommand(name, [...flags, `-state-dir=${stateDir}`], SECRET_OF_THIS_RUN);
    started.push(command);
    return command;
  };

  const server = run('server', ['-listen=127.0.0.1:0', `-backend=127.0.0.1:${backend.port}`, '-quic']);
  const { tcp: address, fingerprint } = await server.event('listening');
  console.log(`${bold('Server')}   ${address} (UDP and TCP), to the backend on 127.0.0.1:${backend.port}`);
  console.log(dim(`         certificate ${fingerprint}`));

  const rows = [];
  for (const { title, flags } of MODES) {
    const client = run(`client, ${title}`, ['-clientmode', '-listen=127.0.0.1:0', `-backend=${address}`, ...flags]);
    const { tcp: local } = await client.event('listening');
    const { rtt } = await client.event('link_up');
    console.log(
      `${bold('Client')}   ${local}, link up by ${title}${rtt === undefined ? '' : dim(`, RTT ${Number(rtt).toFixed(1)} ms`)}`,
    );
    rows.push(await measure(title, Number(local.split(':').at(-1)), backend));
  }

  console.log(`\n${table(COLUMNS, rows)}`);
  console.log(dim(`MB/s: one connection, ${BULK_MB} MiB, sent, received and hashed in the process of this demo.`));
  console.log(`\n${green('Every byte arrived as it was sent.')}\n\n${NEXT}`);
}

async function measure(title, port, backend) {
  const latencies = await echoLatencies(port, CONNECTIONS, AT_ONCE);
  const up = await transferUp(port, BULK_MB, backend);
  const down = await transferDown(port, BULK_MB);
  const at = (share) => `${latencies[Math.floor(share * (latencies.length - 1))].toFixed(1)} ms`;
  return [title, String(latencies.length), at(0.5), at(0.99), up.toFixed(0), down.toFixed(0)];
}

/** Made anew by each run; the processes get it by their environment. */
const SECRET_OF_THIS_RUN = randomBytes(16).toString('hex');

const MODES = [
  { title: 'QUIC', flags: ['-quic'] },
  { title: 'TLS', flags: [] },
];

const COLUMNS = ['', 'connections echoed', 'p50', 'p99', 'MB/s up', 'MB/s down'];
const CONNECTIONS = 400;
const AT_ONCE = 20;
const BULK_MB = 128;

const NEXT = `${bold('Try next')}
  export QTUNNEL_SECRET=$(openssl rand -hex 16)
  node dist/bin/qtunnel.js -listen=:9001 -backend=127.0.0.1:22 -quic                       ${dim('# on the server')}
  node dist/bin/qtunnel.js -listen=127.0.0.1:2222 -backend=SERVER:9001 -clientmode -quic   ${dim('# here')}
  ssh -p 2222 127.0.0.1
  node dist/bin/qtunnel.js -help`;

await runAsScript(import.meta.url, demo);
