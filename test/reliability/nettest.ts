import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryFolder } from '../support/files.ts';
import { run, start } from '../support/process.ts';
import type { Owner } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import { freePort } from '../support/tcp.ts';
import { demand } from './experiment.ts';
import type { Experiment } from './experiment.ts';

/** What Go's authors expect of every connection: deadlines, concurrent use, closing while others read and write. */
export function nettest(): Experiment {
  return {
    name: 'nettest',
    title: `Go's nettest.TestConn, unmodified, ${TIMES} times`,
    absence: () => missing('go') || (!existsSync(SUITE) && 'not installed: golang-golang-x-net-dev'),
    async run(trial) {
      for (const mode of MODES)
        await trial.part(`${mode}: nettest.TestConn, ${TIMES} times`, async (owner) => {
          const program = await compile(owner);
          const backend = await freePort();
          const { port } = await startTunnel(owner, mode, backend);
          const env = { TUNNEL: `127.0.0.1:${port}`, BACKEND: `127.0.0.1:${backend}` };
          const suite = start(owner, program, ['-test.v', `-test.count=${TIMES}`], { env });
          const { code } = await suite.end(DEADLINE_MS);
          const [passed, failed] = [count(suite.lines, 'PASS'), count(suite.lines, 'FAIL')];
          demand(code === 0 && failed === 0 && passed > 0, `${failed} failed, ${passed} passed: ${suite.tail}`);
          return `${passed} of ${passed} passed`;
        });
    },
  };
}

/** Debian has Go's libraries in a GOPATH, without modules. */
async function compile(owner: Owner): Promise<string> {
  const folder = temporaryFolder(owner);
  const program = join(folder, 'nettest');
  const env = { GO111MODULE: 'off', GOPATH: GO_PATH, GOCACHE: join(folder, 'cache') };
  await run(owner, 'go', ['test', '-c', '-o', program, '.'], { env, cwd: resolve('test/reliability/nettest') });
  return program;
}

/** Of the suite's own tests, which are one level below ours. */
function count(lines: readonly string[], result: string): number {
  return lines.filter((line) => line.startsWith(`    --- ${result}: `)).length;
}

const TIMES = 20;
const GO_PATH = '/usr/share/gocode';
const SUITE = `${GO_PATH}/src/golang.org/x/net/nettest/conntest.go`;
const DEADLINE_MS = 20 * 60_000;
