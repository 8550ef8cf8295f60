import { test } from 'tap';
import { parseArguments } from '../../src/cli/arguments.ts';

function parse(...words: string[]): Record<string, unknown> {
  return Object.fromEntries([...parseArguments(words).values].map(([name, { value }]) => [name, value]));
}

test('one dash or two, a value after an equals sign or as the next word', (t) => {
  const listen = { listen: { host: '', port: 8080 } };
  t.same(parse('-listen=:8080'), listen);
  t.same(parse('--listen=:8080'), listen);
  t.same(parse('-listen', ':8080'), listen);
  t.same(parse('--listen', ':8080'), listen);
  t.same(parse(), {});
  t.end();
});

test('booleans as in Go', (t) => {
  t.same(parse('-quic', '-clientmode=false', '--insecure=true'), { quic: true, clientmode: false, insecure: true });
  t.same(parse('-quic', '-listen', ':1'), { quic: true, listen: { host: '', port: 1 } });
  t.end();
});

test('text arrives as it was written', (t) => {
  for (const secret of ['"quoted"', "'x'", 'a=b', '-abc', '--', ' ', '007', '1e3', 'true', 'a\nb', '--x=1', 'ü€']) {
    t.same(parse(`-secret=${secret}`), { secret }, `-secret=${secret}`);
    t.same(parse('-secret', secret), { secret }, `-secret ${secret}`);
  }
  t.end();
});

test('repeatable flags add up', (t) => {
  t.same(parse('-cert-host=a', '-cert-host', 'b,c'), { 'cert-host': ['a', 'b', 'c'] });
  t.end();
});

test('-help wins over everything beside it', (t) => {
  for (const help of ['-h', '--h', '-help', '--help']) t.same(parse('-xyzzy', help), { help: true });
  t.throws(() => parse('--', '-h'), { code: 'USAGE' });
  t.end();
});
