import { test } from 'tap';
import { qtunnel } from '../cli/command.ts';

const FAR = 'is for the far end: add -server, or leave it out';
const NEAR = 'is for the near end, and -server makes this the far one: leave one of them out';
const TWO = 'is for two hosts: add -backend=HOST:PORT here or -server on the other, or leave it out';

/** What follows `qtunnel bench`, and the sentence on standard error; exit 2. */
const REFUSED: [string[], string][] = [
  [['-secnds=1'], 'unknown flag -secnds; did you mean -seconds?'],
  [['-clientmode'], 'unknown flag -clientmode; see qtunnel bench -help'],
  [['start'], 'unexpected word "start": flags begin with a dash, see qtunnel bench -help'],
  [['-json', 'true'], 'unexpected word "true": -json takes its value after an equals sign, -json=true or -json=false'],
  [['-seconds'], '-seconds needs a value, as in -seconds=100'],
  [['-seconds=0'], '-seconds: expected a number from 1 to 3600, got "0"'],
  [['-seconds=1', '-seconds=2'], '-seconds is given twice: give it once'],
  [['-transfers=many'], '-transfers: expected a whole number, got "many"'],
  [['-tests=speed'], '-tests: expected some of throughput, sizes, latency, reliability, got "speed"'],
  [['-connections=1,x'], '-connections: expected a whole number, or several with commas between them, got "x"'],
  [['-connections=0'], '-connections: expected a number from 1 to 1000, or several with commas between them, got "0"'],
  [['-connections=1,,2'], '-connections: expected names with commas between them, got "1,,2"'],
  [['-sizes=1G'], '-sizes: expected a size from 1 to 16M, or several with commas between them, got "1G"'],
  [['-backend=host'], '-backend: expected an address such as :8080, host:443 or [::1]:443 (the port is missing), got "host"'],
  [['-congestion=vegas'], '-congestion: expected bbr, cubic or reno, got "vegas"'],

  [['-listen=:1'], `-listen ${FAR}`],
  [['-direct=:1', '-backend=host:1'], `-direct ${FAR}`],
  [['-server', '-seconds=1'], `-seconds ${NEAR}`],
  [['-server', '-backend=host:1'], `-backend ${NEAR}`],
  [['-server', '-insecure'], `-insecure ${NEAR}`],
  [['-secret=S'], `-secret ${TWO}`],
  [['-state-dir=x'], `-state-dir ${TWO}`],

  [['-server', '-secret=a', '-secret-file=b'], '-secret and -secret-file contradict each other: give the secret once'],
  [['-backend=host:1', '-keepalive=30s'], '-keepalive: expected less than idle-timeout\'s 30s, got "30s"'],
];

for (const [words, sentence] of REFUSED) {
  test(`qtunnel bench ${words.join(' ')}`, async (t) => {
    const { code, stdout, stderr } = await qtunnel(t, ['bench', ...words]);
    t.equal(stderr, `qtunnel: ${sentence}\n`);
    t.equal(stdout, '');
    t.equal(code, 2);
  });
}

test('a secret is not shown, nor looked for where it is empty', async (t) => {
  const { code, stderr } = await qtunnel(t, ['bench', '-server'], { QTUNNEL_SECRET: '' });
  t.equal(stderr, 'qtunnel: QTUNNEL_SECRET is empty: give it the secret, or unset it to run without one\n');
  t.equal(code, 2);
});
