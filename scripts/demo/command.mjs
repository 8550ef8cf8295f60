import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from '../setup.mjs';

/** Starts the built command as a user would; `event` waits for a line of its log. */
export function startCommand(name, flags, secret) {
  const child = spawn(process.execPath, [`${root}dist/bin/qtunnel.js`, '-log-format=json', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, QTUNNEL_SECRET: secret },
  });
  const lines = [];
  const waiting = new Set();
  const wake = () => waiting.forEach((attempt) => attempt());
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      wake();
    });
  let ended = false;
  const exited = new Promise((resolve) => {
    child.once('error', (error) => lines.push(error.message));
    child.once('close', () => {
      ended = true;
      wake();
      resolve();
    });
  });

  const event = (wanted) =>
    new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        waiting.delete(attempt);
        settle(value);
      };
      const attempt = () => {
        const found = lines.map(parse).find((line) => line?.event === wanted);
        if (found) finish(resolve, found);
        else if (ended) finish(reject, new Error(`the ${name} ended before "${wanted}"`));
      };
      const timer = setTimeout(
        () => finish(reject, new Error(`the ${name} did not say "${wanted}" within ${EVENT_TIMEOUT_MS / 1000} s`)),
        EVENT_TIMEOUT_MS,
      );
      waiting.add(attempt);
      attempt();
    });

  return { name, event, log: () => lines.join('\n'), stop: () => stop(child, exited) };
}

async function stop(child, exited) {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

const EVENT_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 3000;
