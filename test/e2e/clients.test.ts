import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { temporaryFolder } from '../support/files.ts';
import { MODES, startClient, startServer } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, ending } from '../support/tcp.ts';

for (const mode of MODES)
  for (const workers of [1, 2]) {
    const skip = workers > 1 && process.platform !== 'linux' && 'workers need Linux';
    test(`${mode}: ${workers} workers: clients from a file, and SIGHUP cuts off one that was removed`, { skip }, async (t) => {
      const file = join(temporaryFolder(t), 'clients.yaml');
      const write = (...names: string[]) =>
        writeFileSync(file, `clients:\n${names.map((name) => `  ${name}: { secret: of ${name}, backends: echo }\n`).join('')}`, {
          mode: 0o600,
        });
      write('laptop', 'phone');
      const flags = [`-clients=${file}`, `-workers=${workers}`];
      const server = await startServer(t, { mode, backend: `echo=127.0.0.1:${await echoServer(t)}`, secret: null, flags });
      const start = (name: string) =>
        startClient(t, { mode, server: server.port, secret: `of ${name}`, flags: [`-client-name=${name}`, '-target=echo'] });
      const [laptop, phone] = [await start('laptop'), await start('phone')];
      const [first, second] = [await dial(t, laptop.port), await dial(t, phone.port)];
      t.ok((await echoes(first, 'hello')) && (await echoes(second, 'hello')));

      write('phone');
      server.process.child.kill('SIGHUP');
      t.equal(await ending(first), 'reset');
      await server.process.event('link_down', { client: 'laptop' });
      await server.process.event('handshake_failed', { code: 'AUTH_REJECTED' });
      t.ok(await echoes(second, 'still here'));

      writeFileSync(file, 'clients: { phone: {} }');
      server.process.child.kill('SIGHUP');
      await server.process.event('reload_failed');
      t.ok(await echoes(await dial(t, phone.port), 'a bad file changes nothing'));
    });
  }
