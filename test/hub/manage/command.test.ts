import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { errorText } from '../../../src/cli/exit.ts';
import { outputOf } from '../../../src/hub/manage/command.ts';
import { loadServerIdentity } from '../../../src/identity/server-identity.ts';
import { temporaryFolder } from '../../support/files.ts';
import { echoServer, freePort, listen } from '../../support/tcp.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { AGENT, connection } from '../support/fake-publisher.ts';

test('mappings: create, list and remove, as a table and as JSON', async (t) => {
  const hub = await startTestApi(t);
  const port = await freePort();
  const flags = ['-allow=10.0.0.0/8', '-bandwidth=10Mbit', '-note=the cellar\u001B[2J', '-agent=cellar', '-protocol=udp'];
  t.equal(
    await ask(hub, ['mapping', 'create', `-port=${port}`, '-target=127.0.0.1:53', ...flags]),
    table(
      'PORT       TARGET        THROUGH  STATE  OPEN  IN   OUT  LIMIT   NOTE',
      `udp/${port}  127.0.0.1:53  cellar   ready  0     0 B  0 B  10Mbit  the cellar\\x1b[2J`,
    ),
  );
  const made = { protocol: 'udp', port, agent: 'cellar', allow: ['10.0.0.0/8'], bandwidth: 1_250_000 };
  t.match(hub.publisher.mappings(), [{ mapping: made }]);
  t.equal(
    await ask(hub, [
      'mapping',
      'update',
      `-port=${port}`,
      '-protocol=udp',
      '-target=127.0.0.1:54',
      '-clear=agent,bandwidth,allow',
      '-note=attic',
    ]),
    table(
      'PORT       TARGET        THROUGH    STATE  OPEN  IN   OUT  LIMIT  NOTE',
      `udp/${port}  127.0.0.1:54  any agent  ready  0     0 B  0 B  –      attic`,
    ),
  );
  t.match(hub.publisher.mappings(), [{ mapping: { port, agent: '', allow: [], bandwidth: Infinity } }]);
  const unclear = { code: 'USAGE', message: '-clear: expected agent, allow, bandwidth, note, got "target"' };
  await t.rejects(ask(hub, ['mapping', 'update', `-port=${port}`, '-clear=target']), unclear);
  t.match(JSON.parse(await ask(hub, ['mapping', 'list', '-json'])), { mappings: [{ port, protocol: 'udp' }] });
  t.equal(await ask(hub, ['mapping', 'remove', `-port=${port}`, '-protocol=udp']), `udp/${port} is gone\n`);
  t.match(await ask(hub, ['mapping', 'list']), /^PORT .*\n$/);
  const gone = { code: 'HUB_REFUSED', message: `The hub says: There is no mapping tcp/${port}.` };
  await t.rejects(ask(hub, ['mapping', 'remove', `-port=${port}`]), gone);
  const outside = { code: 'HUB_REFUSED', message: /-ports/ };
  await t.rejects(ask(hub, ['mapping', 'create', '-port=80', '-target=127.0.0.1:1', '-direct']), outside);
});

test('agents and status', async (t) => {
  const hub = await startTestApi(t);
  const port = await freePort();
  await ask(hub, ['mapping', 'create', `-port=${port}`, '-target=127.0.0.1:53']);
  hub.publisher.agentStates = [{ ...AGENT, since: new Date(Date.now() - 3_600_000 * 5) }];
  hub.publisher.end(connection('a', port, { bytesIn: 1_234_567, bytesOut: 999 }));
  t.equal(
    await ask(hub, ['agents']),
    table(
      'AGENT   FROM            OVER  RTT      LOSS  SINCE  OPEN  ALLOWS',
      'cellar  192.0.2.9:5000  QUIC  12.5 ms  –     5 h    3     127.0.0.1:22',
    ),
  );
  const figures = /agents: +1\nmappings: +1\nopen: +0\ncarried: +1 connections, 1\.2 MB in, 999 B out\n$/;
  t.match(await ask(hub, ['status']), figures);
});

test('tokens from the command, from a file and from the environment', async (t) => {
  const hub = await startTestApi(t);
  const token = (await ask(hub, ['token', 'create', '-name=ops', '-role=manage'])).trim();
  t.match(token, /^qth_/);
  await t.rejects(ask(hub, ['mapping', 'list']), { code: 'HUB_REFUSED', message: /needs a token.* -token-file/ });
  const file = path.join(temporaryFolder(t), 'token');
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  const rows = (await ask(hub, ['token', 'list', `-token-file=${file}`])).split('\n');
  t.match(rows[1], /^[\da-f]{12} {2}ops {3}manage /);
  t.match(await ask(hub, ['token', 'list'], { QTUNNEL_TOKEN: token }), /ops/);
  t.match(await ask(hub, ['token', 'list'], { QTUNNEL_TOKEN_FILE: file }), /ops/);
  const id = rows[1]!.split(' ')[0]!;
  t.equal(await ask(hub, ['token', 'remove', `-id=${id}`], { QTUNNEL_TOKEN: token }), `${id} is gone\n`);
  writeFileSync(file, 'two words\n');
  await t.rejects(ask(hub, ['token', 'list', `-token-file=${file}`]), { code: 'USAGE', message: /holds no token/ });
});

test('HTTPS: by fingerprint, and else not', async (t) => {
  const tls = await loadServerIdentity({ certFile: null, keyFile: null, stateDir: temporaryFolder(t) });
  const { port } = await startTestApi(t, { tls });
  const there = `-api=https://127.0.0.1:${port}`;
  t.match(await outputOf(['status', there, `-pin=${tls.fingerprint}`], {}, false), /agents: +0/);
  await t.rejects(outputOf(['status', there], {}, false), { code: 'HUB_UNREACHABLE', message: /-ca-file.*-pin/ });
  await t.rejects(outputOf(['status', there, `-pin=${'0'.repeat(64)}`], {}, false), { code: 'PIN_MISMATCH' });
});

test('a hub that is not there, or is none', async (t) => {
  const nobody = await freePort();
  await t.rejects(outputOf(['status', `-api=127.0.0.1:${nobody}`], {}, false), {
    code: 'HUB_UNREACHABLE',
    message: `There is no hub at 127.0.0.1:${nobody}: nothing listens there; check that the hub runs with -api`,
  });
  const stranger = { code: 'HUB_UNREACHABLE', message: /is not a hub/ };
  await t.rejects(outputOf(['agents'], { QTUNNEL_API: `127.0.0.1:${await echoServer(t)}` }, false), { code: 'HUB_UNREACHABLE' });
  const web = await listen(t, (socket) => socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno'));
  await t.rejects(outputOf(['agents', `-api=127.0.0.1:${web}`], {}, false), stranger);
  const page = await listen(t, (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>'));
  await t.rejects(outputOf(['agents', `-api=127.0.0.1:${page}`], {}, false), stranger);
  for (const json of ['{}', '{"agents":7}', '[]', 'null']) {
    const answer = `HTTP/1.1 200 OK\r\ncontent-length: ${json.length}\r\n\r\n${json}`;
    await t.rejects(outputOf(['agents', `-api=127.0.0.1:${await listen(t, (socket) => socket.end(answer))}`], {}, false), stranger);
  }
  await t.rejects(outputOf(['agents', '-api=nowhere.invalid:1'], {}, false), { code: 'HUB_UNREACHABLE' });
});

test('what a hub says cannot steer the terminal', async (t) => {
  const evil = '\u001B[2J\u009B2J';
  const answers: [words: string[], status: number, json: object][] = [
    [['token', 'create', '-name=ops'], 201, { token: evil }],
    [
      ['agents'],
      200,
      { agents: [{ ...AGENT, name: evil, allow: [evil], since: new Date().toISOString(), rtt_ms: null, loss: null }] },
    ],
    [['agents', '-json'], 200, { agents: [{ name: evil }] }],
    [['agents'], 409, { detail: evil }],
  ];
  for (const [words, status, json] of answers) {
    const body = Buffer.from(JSON.stringify(json));
    const head = `HTTP/1.1 ${status} x\r\ncontent-length: ${body.length}\r\n\r\n`;
    const port = await listen(t, (socket) => socket.end(Buffer.concat([Buffer.from(head), body])));
    const said = await outputOf([...words, `-api=127.0.0.1:${port}`], {}, false).catch((error: unknown) => errorText(error, false));
    t.match(said, /9b2J/);
    // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
    t.notMatch(said, /[\u001B\u009B]/, words.join(' '));
  }
});

test('wrong words', async (t) => {
  const cases: [string[], RegExp][] = [
    [['mapping'], /^qtunnel mapping: expected create, update, remove, list after it$/],
    [['mapping', 'crate'], /; did you mean qtunnel mapping create\?$/],
    [['mapping', 'create', '-port=10022'], /^-target is missing/],
    [['mapping', 'create', '-port=0', '-target=x:1'], /^-port: expected a number from 1 to 65535/],
    [['mapping', 'list', '-api=ftp://x'], /^-api: expected an address/],
    [['mapping', 'list', '-api=http://user@x/'], /^-api: expected an address/],
    [['status', '-jsn'], /^unknown flag -jsn; did you mean -json\?$/],
  ];
  for (const [words, message] of cases) await t.rejects(outputOf(words, {}, false), { code: 'USAGE', message }, words.join(' '));
  const overview = await outputOf(['token', '-help'], {}, false);
  t.match(overview, /qtunnel mapping create [^]*qtunnel status/);
  const help = await outputOf(['mapping', 'create', '-help'], {}, false);
  t.match(help, /-bandwidth=RATE/);
  for (const line of `${overview}${help}`.split('\n')) t.ok(line.length <= 80, line);
});

function ask({ port }: TestApi, words: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  return outputOf([...words, `-api=127.0.0.1:${port}`], environment, false);
}

function table(...lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}
