import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'tap';
import { openSyslog } from '../../src/observe/syslog.ts';
import { eventually } from '../support/deadline.ts';
import { forbidProcesses, NO_PROCESS } from '../support/no-process.ts';

const noLogger = spawnSync('logger', ['--version']).status !== 0 && 'util-linux logger is not installed';

test('lines reach the syslog socket with their level, through the real logger', { skip: noLogger }, async (t) => {
  // Not in t.testdir(): a socket's path may have 107 characters.
  const folder = mkdtempSync(path.join(tmpdir(), 'qtunnel-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const socket = path.join(folder, 'log');
  let received = '';
  // A stream socket in the place of syslog's datagram socket, which Node cannot open; logger takes both.
  const server = createServer((connection) => connection.on('data', (chunk) => (received += chunk.toString())));
  server.listen(socket);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const syslog = openSyslog({ socket });
  syslog.lastLevel = 30;
  syslog.write('{"msg":"hello"}\n');
  syslog.lastLevel = 50;
  syslog.write('{"msg":"broken"}\n');
  await syslog.close();
  await eventually('both lines', () => received.includes('broken'));
  t.match(received, /<30>.*qtunnel.*\{"msg":"hello"\}/);
  t.match(received, /<27>.*qtunnel.*\{"msg":"broken"\}/);
});

test('a logger that dies is started again', async (t) => {
  const folder = t.testdir();
  const out = path.join(folder, 'out');
  const program = path.join(folder, 'logger');
  // Takes one line and ends.
  writeFileSync(program, `#!/bin/sh\nread -r line && echo "$line" >> '${out}'\n`);
  chmodSync(program, 0o755);
  const syslog = openSyslog({ program, socket: folder });
  t.teardown(() => syslog.close());
  const written = () => {
    try {
      return readFileSync(out, 'utf8').split('\n').length - 1;
    } catch {
      return 0;
    }
  };
  await eventually('a second logger', () => {
    syslog.write('line\n');
    return written() >= 2;
  });
  t.match(readFileSync(out, 'utf8'), /^<30>line\n<30>line\n/);
});

test('a logger that takes nothing for a while holds up nobody, and the log says how many lines it has cost', async (t) => {
  const folder = t.testdir();
  const [out, go] = [path.join(folder, 'out'), path.join(folder, 'go')];
  const program = path.join(folder, 'logger');
  writeFileSync(program, `#!/bin/sh\nwhile [ ! -e '${go}' ]; do sleep 0.05; done\nexec cat > '${out}'\n`);
  chmodSync(program, 0o755);
  const syslog = openSyslog({ program, socket: folder });
  t.teardown(() => syslog.close());
  let written = 0;
  const write = (): void => {
    syslog.lastLevel = 30;
    syslog.write(`${'x'.repeat(8_000)} ${written++}\n`);
  };
  while (written < 300) write();
  writeFileSync(go, '');
  const lines = (await eventually('the gap', () => {
    write();
    const all = existsSync(out) ? readFileSync(out, 'utf8').split('\n').slice(0, -1) : [];
    return all.some((line) => line.includes('log_gap')) ? all : undefined;
  }))!;
  const gap = lines.findIndex((line) => line.includes('log_gap'));
  const [, priority, json] = /^<(\d+)>(.*)$/.exec(lines[gap]!)!;
  t.equal(priority, '28', 'a warning');
  const { lines: missing } = JSON.parse(json!) as { lines: number };
  t.ok(missing > 100, `${missing} lines`);
  await eventually('the line behind it', () => readFileSync(out, 'utf8').split('\n').length > gap + 2);
  t.equal(readFileSync(out, 'utf8').split('\n')[gap + 1]?.split(' ').at(-1), String(gap + missing));
});

for (const [reason, errno] of Object.entries(NO_PROCESS))
  test(`a logger that cannot be started (${reason}) is tried again; nothing is thrown meanwhile`, async (t) => {
    const folder = t.testdir();
    const out = path.join(folder, 'out');
    const program = path.join(folder, 'logger');
    writeFileSync(program, `#!/bin/sh\nwhile read -r line; do echo "$line" >> '${out}'; done\n`);
    chmodSync(program, 0o755);
    const allow = forbidProcesses(errno);
    t.teardown(allow);
    const syslog = openSyslog({ program, socket: folder });
    t.teardown(() => syslog.close());
    syslog.write('to standard error\n');
    await turn();
    allow();
    await eventually('the logger', () => {
      syslog.write('line\n');
      return existsSync(out);
    });
    t.match(readFileSync(out, 'utf8'), /^<30>line\n/);
  });

test('without the program or without a syslog daemon it is refused', (t) => {
  t.throws(() => openSyslog({ program: 'no-such-logger-here' }), {
    code: 'FILE_UNWRITABLE',
    message: /^-logto=syslog cannot be used, the program no-such-logger-here is not installed: install it .*, or log elsewhere$/,
  });
  if (process.platform === 'linux') {
    const socket = path.join(t.testdir(), 'none');
    t.throws(() => openSyslog({ program: 'sh', socket }), {
      code: 'FILE_UNWRITABLE',
      message: /there is no .*none here: start a syslog daemon/,
    });
  }
  t.end();
});
