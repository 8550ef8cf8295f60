import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { MODES, type Qtunnel, startClient, startServer } from '../support/qtunnel.ts';
import { dial, echoes, echoServer } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: a secret is changed while a transfer runs, in the steps of the README`, async (t) => {
    const folder = temporaryFolder(t);
    const [serverFile, clientFile] = [join(folder, 'server'), join(folder, 'client')];
    const write = (file: string, ...secrets: string[]) => writeFileSync(file, `${secrets.join('\n')}\n`, { mode: 0o600 });
    write(serverFile, 'the old one');
    write(clientFile, 'the old one');
    const server = await startServer(t, {
      mode,
      backend: await echoServer(t),
      secret: null,
      flags: [`-secret-file=${serverFile}`],
    });
    const client = await startClient(t, { mode, server: server.port, secret: null, flags: [`-secret-file=${clientFile}`] });
    const transfer = new Transfer(await dial(t, client.port));

    write(serverFile, 'the new one', 'the old one');
    await reload(server.process);
    await transfer.goesOn();
    t.ok(await echoes(await dial(t, client.port), 'the client has the old one still'));

    write(clientFile, 'the new one');
    const skip = client.process.log.length;
    await reload(client.process);
    await client.process.event('link_up', { transport: mode }, { skip });
    await transfer.goesOn();
    t.ok(await echoes(await dial(t, client.port), 'the client has the new one'));

    write(serverFile, 'the new one');
    await reload(server.process);
    await transfer.goesOn();
    t.ok(await echoes(await dial(t, client.port), 'only the new one is left'));
    t.ok(await transfer.stop(), 'every byte came back');

    t.equal(server.process.events('handshake_failed').length, 0, 'nobody was refused');
    const late = await startClient(t, {
      mode,
      server: server.port,
      secret: 'the old one',
      waitForLink: false,
    });
    await server.process.event('handshake_failed', { code: 'AUTH_REJECTED' });
    t.equal(late.process.events('link_up').length, 0);
  });
}

async function reload(process: Qtunnel): Promise<void> {
  const skip = process.log.length;
  process.child.kill('SIGHUP');
  await process.event('reloaded', {}, { skip });
}

/** Blocks that go to an echo server and back, one after another, until it is stopped. */
class Transfer {
  #blocks = 0;
  #stopped = false;
  readonly #done: Promise<boolean>;

  constructor(socket: Socket) {
    this.#done = this.#run(socket);
  }

  /** A block that began after this call has come back. */
  async goesOn(): Promise<void> {
    const before = this.#blocks;
    await eventually('the transfer goes on', () => this.#blocks > before + 1);
  }

  /** Whether everything came back as it was. */
  stop(): Promise<boolean> {
    this.#stopped = true;
    return this.#done;
  }

  async #run(socket: Socket): Promise<boolean> {
    const block = randomBytes(200_000);
    while (!this.#stopped) {
      if (!(await echoes(socket, block))) return false;
      this.#blocks++;
    }
    return true;
  }
}
