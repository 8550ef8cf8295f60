import { test } from 'tap';
import { readFlags } from '../../src/cli/arguments.ts';
import { BENCH_FLAGS } from '../../src/measure/flags.ts';
import { type BenchSettings, settleBench } from '../../src/measure/settings.ts';
import { planOf } from '../../src/measure/plan.ts';

function settle(words: string[], environment: Record<string, string> = {}): BenchSettings {
  return settleBench(readFlags(words, { flags: BENCH_FLAGS, help: '' }), environment);
}

test('alone: both ends, QUIC and TCP mode, the table that -help tells of', async (t) => {
  const settings = settle([]);
  t.match(settings, { end: 'both', server: { clientmode: false, quic: true }, client: { clientmode: true, fallback: true } });
  t.ok(settings.end === 'both');
  const steps = planOf((settings as Extract<BenchSettings, { end: 'both' }>).wanted);
  t.equal(steps.filter(({ test: name }) => name === 'throughput').length, 6);
  t.same(
    steps.flatMap((step) => (step.test === 'latency' ? [step.plan] : [])),
    [64, 1024, 32_768, 1_048_576].map((size) => ({ size, seconds: 2 })),
  );
  t.match(steps.at(-1), { test: 'reliability', plan: { transfers: 100 } });
});

test('with -backend: the near end; only what was asked for, each once', async (t) => {
  const settings = settle(['-backend=h:1', '-secret=S', '-tests=sizes', '-sizes=2K,64,2K', '-seconds=5', '-fallback=false']);
  t.match(settings, {
    end: 'near',
    tunnel: { clientmode: true, backend: { host: 'h', port: 1 }, secret: 'S', quic: true, fallback: false },
  });
  t.same(
    planOf((settings as Extract<BenchSettings, { end: 'near' }>).wanted).map(({ plan }) => plan),
    [2048, 64].map((writeSize) => ({ direction: 'up', connections: 1, writeSize, seconds: 5 })),
  );
});

test('-server: the far end, on the usual port; flags that tune a link count for both ends', async (t) => {
  t.match(settle(['-server', '-direct=:2', '-congestion=cubic']), {
    end: 'far',
    tunnel: { clientmode: false, listen: { host: '', port: 9001 }, congestion: 'cubic' },
    direct: { host: '', port: 2 },
  });
  t.match(settle(['-congestion=cubic']), { server: { congestion: 'cubic' }, client: { congestion: 'cubic' } });
});

test('the environment: a link’s settings are taken, a secret means nothing between two ends on one machine', async (t) => {
  const environment = { QTUNNEL_SECRET: 'S', QTUNNEL_CONGESTION: 'reno', QTUNNEL_CLIENTMODE: 'true', QTUNNEL_PIN: 'ab'.repeat(32) };
  t.match(settle([], environment), { end: 'both', server: { secret: null, clientmode: false, congestion: 'reno' } });
  t.match(settle(['-server'], environment), { end: 'far', tunnel: { secret: 'S', clientmode: false } });
  t.match(settle(['-backend=h:1'], environment), { end: 'near', tunnel: { secret: 'S', pin: 'ab'.repeat(32) } });
  t.match(settle(['-quic=false']), { client: { quic: false } });
  t.match(settle([], { QTUNNEL_QUIC: 'false' }), { client: { quic: false } });
});
