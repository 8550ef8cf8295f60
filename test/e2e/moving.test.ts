import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import type { Test } from 'tap';
import { cabledNamespaces, dropUdp, type Namespace, secondCable, setCable } from '../support/netns.ts';
import { type Program, start } from '../support/process.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { startClient, startServer } from '../support/qtunnel.ts';

const needed = { skip: missingForNamespaces('nft') };

test('the cable is pulled out: open connections go on over another interface, and back', needed, async (t) => {
  const [here, there] = await cabledNamespaces(t);
  const second = await secondCable(t, here, there);
  const { client, talk } = await startTalking(t, here, there);
  await echoes(talk, 'over the first cable');

  await setCable(t, here, 'down');
  t.match((await client.event('link_moved'))['local'], second);
  await echoes(talk, 'over the second cable');

  await setCable(t, here, 'up');
  await client.event('link_moved', {}, { skip: client.log.findIndex(({ event }) => event === 'link_moved') + 1 });
  await echoes(talk, 'over the first cable again');
  t.equal(client.events('link_up').length, 1, 'it is the same link');
  t.same([...client.events('link_down'), ...client.events('stream_reset')], []);
});

test('UDP is dropped for some seconds: the connection that is open goes on when it passes again', needed, async (t) => {
  const [here, there] = await cabledNamespaces(t);
  const { client, talk } = await startTalking(t, here, there);
  await echoes(talk, 'before');

  const passUdp = await dropUdp(t, there);
  talk.child.stdin!.write('in the midst\n');
  await client.event('link_state', { state: 'stalled' });
  await client.event('link_moved');
  await passUdp();
  await talk.line(/in the midst/);
  await client.event('link_state', { state: 'up' });
  await echoes(talk, 'after');
  t.same([...client.events('link_down'), ...client.events('stream_reset')], []);
});

/** A client and a server over QUIC, and a program that talks to an echoing backend through them, line by line. */
async function startTalking(t: Test, here: Namespace, there: Namespace) {
  const backend = start(t, process.execPath, [helper('echo-server'), '127.0.0.1', '7000'], { prefix: there.prefix });
  await backend.line(/listening/);
  const server = await startServer(t, { mode: 'quic', backend: 7000, listen: `${there.address}:0`, prefix: there.prefix });
  const { process: client, port } = await startClient(t, {
    mode: 'quic',
    server: `${there.address}:${server.port}`,
    prefix: here.prefix,
    flags: ['-fallback=false'],
  });
  return { client, talk: start(t, process.execPath, ['-e', TALK, `${port}`], { prefix: here.prefix }) };
}

async function echoes(talk: Program, text: string): Promise<void> {
  talk.child.stdin!.write(`${text}\n`);
  await talk.line(new RegExp(`^${text}$`));
}

function helper(name: string): string {
  return fileURLToPath(new URL(`../support/bin/${name}.js`, import.meta.url));
}

/** Joins standard input and output with a connection. */
const TALK = `
  const socket = require('node:net').connect(Number(process.argv[1]), '127.0.0.1');
  process.stdin.pipe(socket).pipe(process.stdout);
`;
