import { createInterface } from 'node:readline';

/**
 * Reads tap's output and shows it in brief: a line for each test file, a line for each skipped test, and all that a failed file
 * said. Resolves to the numbers of assertions that passed, failed and were skipped.
 */
export async function readTap(stream) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let block = [];
  for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
    const summary = SUMMARY.exec(line)?.groups;
    const result = FILE_RESULT.exec(line)?.groups;
    if (summary) Object.assign(counts, countsOf(summary));
    else if (result) block = showFile(result, block);
    else block.push(line);
  }
  return counts;
}

function showFile({ not, file, time }, block) {
  const took = time ? ` (${time})` : '';
  console.log(not ? `FAILED ${file}${took}` : `ok     ${file}${took}`);
  const skipped = block.map((line) => SKIPPED.exec(line)?.groups).filter(Boolean);
  for (const { name, reason } of skipped) console.log(`       skipped: ${[name, reason].filter(Boolean).join(': ')}`);
  if (not) console.log(block.map((line) => `       ${line}`).join('\n'));
  return [];
}

function countsOf({ body }) {
  const number = (key) => Number(new RegExp(`\\b${key}: (\\d+)`).exec(body)?.[1] ?? 0);
  return { passed: number('pass'), failed: number('fail'), skipped: number('skip') + number('todo') };
}

const FILE_RESULT = /^(?<not>not )?ok \d+ - (?<file>\S+\.test\.js)(?: # time=(?<time>\S+))?/;
const SKIPPED = /^\s+ok \d+ (?:- )?(?<name>.*?) ?# SKIP ?(?<reason>.*)$/;
const SUMMARY = /^# \{ total: \d+(?<body>.*)\}$/;
