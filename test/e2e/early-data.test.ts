import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { parseExposition, valueOf } from '../observe/exposition.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { startClient, startServer } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, freePort } from '../support/tcp.ts';

/** Links whose early data was taken, or refused, by the metrics that a process has at this port. */
async function earlyLinks(port: number, outcome: 'taken' | 'refused'): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return valueOf(parseExposition(text), 'qtunnel_early_data_total', { outcome }) ?? 0;
}

for (const workers of [1, 2]) {
  const skip = workers > 1 && process.platform !== 'linux' && 'workers need Linux';
  test(
    `${workers} workers: a client that was killed sends early when it is back, also after SIGHUP to the server`,
    { skip },
    async (t) => {
      const stateDir = temporaryFolder(t);
      // What is still being written has another name.
      const tickets = () =>
        (existsSync(join(stateDir, 'tickets')) ? readdirSync(join(stateDir, 'tickets')) : []).filter((name) =>
          name.endsWith('.json'),
        );
      const backend = `127.0.0.1:${await echoServer(t)}`;
      const flags = ['-early-data', `-workers=${workers}`];
      const [atServer, atClient] = [await freePort(), await freePort()];
      const server = await startServer(t, { mode: 'quic', backend, flags: [...flags, `-metrics=127.0.0.1:${atServer}`] });
      const start = () =>
        startClient(t, { mode: 'quic', server: server.port, flags: [...flags, `-metrics=127.0.0.1:${atClient}`], stateDir });
      const visit = async (early: 'taken' | 'refused' | null): Promise<void> => {
        const client = await start();
        const { msg } = await client.process.event('link_up', { transport: 'quic' });
        t.equal(msg?.includes('early data'), early !== null);
        t.ok(await echoes(await dial(t, client.port), 'hello'));
        await eventually('a ticket of each worker', () => tickets().length === workers);
        for (const outcome of ['taken', 'refused'] as const)
          t.equal(await earlyLinks(atClient, outcome), outcome === early ? workers : 0, outcome);
        for (const file of tickets()) t.equal(statSync(join(stateDir, 'tickets', file)).mode & 0o777, 0o600);
        client.process.child.kill('SIGKILL');
        await client.process.exited;
      };
      await visit(null);
      await visit('taken');
      t.equal(await earlyLinks(atServer, 'taken'), workers);
      server.process.child.kill('SIGHUP');
      await server.process.event('reloaded');
      await visit('refused');
    },
  );
}
