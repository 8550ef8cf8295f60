import { test } from 'tap';
import type { Test } from 'tap';
import { parseExposition, valueOf } from '../observe/exposition.ts';
import { temporaryFolder } from '../support/files.ts';
import { type Mode, MODES, startClient, startServer } from '../support/qtunnel.ts';
import { dial, freePort, listen, receiveAll } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: two servers; the one in use is killed, new connections go to the other, which goes on when it is back`, async (t) => {
    const servers = new Map([await namedServer(t, mode, 'a'), await namedServer(t, mode, 'b')]);
    const metrics = await freePort();
    const { process: client, port } = await startClient(t, {
      mode,
      server: [...servers.values()].map((server) => `127.0.0.1:${server.port}`).join(','),
      flags: [`-metrics=127.0.0.1:${metrics}`],
    });
    // Both, since a link to either is enough for the client to begin.
    await client.waitFor('both links', () => (client.events('link_up').length >= 2 ? true : undefined));
    const first = await answer(t, port);
    const second = first === 'a' ? 'b' : 'a';
    const address = `127.0.0.1:${servers.get(second)!.port}`;

    await servers.get(first)!.process.kill('SIGKILL');
    await client.event('server', { server: address });
    t.equal(await answer(t, port), second);
    t.equal(await gauge(metrics, 'server_preferred', address), 1);
    t.equal(await gauge(metrics, 'server_up', address), 1);
    t.equal(await gauge(metrics, 'server_up', `127.0.0.1:${servers.get(first)!.port}`), 0);

    const seen = client.log.length;
    const { port: sameport, stateDir } = servers.get(first)!;
    await startServer(t, { mode, backend: await sayer(t, first), listen: `127.0.0.1:${sameport}`, stateDir });
    await client.event('link_up', {}, { skip: seen });
    t.equal(await answer(t, port), second, 'what has just come back is not trusted yet');
  });
}

async function namedServer(t: Test, mode: Mode, name: string) {
  return [name, await startServer(t, { mode, backend: await sayer(t, name), stateDir: temporaryFolder(t) })] as const;
}

/** A backend that says its name and hangs up. */
function sayer(t: Test, name: string): Promise<number> {
  return listen(t, (socket) => socket.end(name));
}

async function answer(t: Test, port: number): Promise<string> {
  return (await receiveAll(await dial(t, port))).toString();
}

async function gauge(port: number, name: string, server: string): Promise<number | undefined> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return valueOf(parseExposition(text), `qtunnel_${name}`, { server });
}
