/**
 * Shows what a test file said, in brief: a line for the file, a line for each skipped test, and all of it when it failed.
 * @param result the file, its output in TAP, whether its process failed, and how long it took.
 */
export function showFile(result) {
  const { file, output, seconds } = result;
  const bad = countsOf(result).failed > 0;
  const lines = output.split('\n');
  console.log(`${bad ? 'FAILED' : 'ok    '} ${file} (${seconds.toFixed(1)} s)`);
  const skipped = lines.map((line) => SKIPPED.exec(line)?.groups).filter(Boolean);
  for (const { name, reason } of skipped) console.log(`       skipped: ${[name, reason].filter(Boolean).join(': ')}`);
  if (bad) console.log(lines.map((line) => `       ${line}`).join('\n'));
}

/** The numbers of assertions in a file's output that passed, failed and were skipped; a file that did not end well has failed at least once. */
export function countsOf({ output, failed }) {
  const body = SUMMARY.exec(output)?.groups.body;
  const number = (key) => Number(new RegExp(`\\b${key}: (\\d+)`).exec(body ?? '')?.[1] ?? 0);
  const least = failed || body === undefined ? 1 : 0;
  return { passed: number('pass'), failed: Math.max(least, number('fail')), skipped: number('skip') + number('todo') };
}

const SKIPPED = /^\s*ok \d+ (?:- )?(?<name>.*?) ?# SKIP ?(?<reason>.*)$/;
const SUMMARY = /^# \{ total: \d+(?<body>.*)\}$/m;
