import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { root } from './setup.mjs';
import { countsOf, showFile } from './tap-report.mjs';

/**
 * Runs test files side by side, each in a process of its own, and shows each when it has ended. Resolves to the numbers of assertions that passed, failed and were skipped in
 * all of them.
 *
 * Without `tap run`: what that loads into each process of a test, hooks around every import among it, took two thirds as much CPU as the tests themselves.
 */
export async function runFiles(files) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const waiting = [...files];
  const running = new Set();
  const end = (signal) => {
    for (const child of running) child.kill('SIGKILL');
    process.kill(process.pid, signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end);
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const result = await runFile(file, running);
      showFile(result);
      for (const [key, count] of Object.entries(countsOf(result))) counts[key] += count;
    }
  };
  await Promise.all(Array.from({ length: JOBS }, work));
  for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, end);
  return counts;
}

/** Runs one to its end: what it said, and whether it ended well. */
function runFile(file, running) {
  const started = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    cwd: root,
    env: { ...process.env, TAP: '1', TAP_TIMEOUT: String(TIMEOUT_S) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const late = setTimeout(() => child.kill('SIGKILL'), (TIMEOUT_S + GRACE_S) * 1000);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve) => {
    const ended = (how) => {
      clearTimeout(late);
      running.delete(child);
      resolve({
        file,
        output: output + (how === '' ? '' : `${how}\n`),
        failed: how !== '',
        seconds: (performance.now() - started) / 1000,
      });
    };
    child.once('error', (error) => ended(error.message));
    // A process that the test has left behind may hold the pipes.
    child.once('exit', (code, signal) => {
      const how = code === 0 ? '' : `The file ended with ${signal ?? code}.`;
      const soon = setTimeout(() => ended(how), PIPES_MS);
      child.once('close', () => {
        clearTimeout(soon);
        ended(how);
      });
    });
  });
}

/** One more than there are processors: tests wait for a quarter of their time. */
const JOBS = Number(process.env.TAP_JOBS ?? Math.min(4, availableParallelism() + 1));
/** A file that takes longer says itself what it waits for. */
const TIMEOUT_S = Number(process.env.TAP_TIMEOUT ?? 240);
/** What it has for that. */
const GRACE_S = 20;
const PIPES_MS = 2000;
