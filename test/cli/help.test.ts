import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { helpText, wantsColour } from '../../src/cli/help.ts';
import { FLAGS } from '../../src/config/flags.ts';
import { VERSION } from '../../src/version.ts';
import { qtunnel } from './command.ts';

test('-help has every flag with its default, three commands, the exit codes, and fits 80 columns', async (t) => {
  const { code, stdout, stderr } = await qtunnel(t, ['-help']);
  t.equal(code, 0);
  t.equal(stderr, '');
  t.equal(stdout, helpText(false));
  t.same(
    stdout.split('\n').filter((line) => line.length > 80),
    [],
  );
  const flat = stdout.replaceAll(/\s+/g, ' ');
  for (const flag of FLAGS) {
    t.match(stdout, new RegExp(`^  -${flag.name}[= ]`, 'm'), flag.name);
    t.ok(flat.includes(flag.help), `${flag.name} says what it does`);
    if ('default' in flag && flag.default !== null && !['', 'false'].includes(flag.default)) {
      t.match(
        flat,
        new RegExp(
          `-${flag.name}[= ][^(]*(\\([A-Z][^(]*)?\\(default ${flag.default.replaceAll('.', '\\.')}[);]`.replace(
            '[^(]*',
            '[\\s\\S]*?',
          ),
        ),
      );
    }
  }
  for (const words of [
    '-generate-cert',
    '-backend=127.0.0.1:5201 -quic -secret=S',
    '-clientmode -quic -secret=S',
    'Exit codes',
    'QTUNNEL_IDLE_TIMEOUT',
  ]) {
    t.ok(flat.includes(words), words);
  }
});

test('-h and --help are the same; -version is what package.json says', async (t) => {
  const [short, long, version] = await Promise.all([qtunnel(t, ['-h']), qtunnel(t, ['--help']), qtunnel(t, ['-version'])]);
  t.equal(short.stdout, long.stdout);
  t.match(version, { code: 0, stdout: `qtunnel ${VERSION}\n` });
  t.equal(VERSION, (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version);
});

test('colour only on a terminal that wants it', (t) => {
  t.equal(wantsColour({ isTTY: true }, {}), true);
  t.equal(wantsColour({ isTTY: true }, { NO_COLOR: '1' }), false);
  t.equal(wantsColour({ isTTY: true }, { TERM: 'dumb' }), false);
  t.equal(wantsColour({}, {}), false);
  t.match(helpText(true), '\u001b[');
  t.notMatch(helpText(false), '\u001b[');
  t.end();
});
