import { test } from 'tap';
import type { Fec } from '../../../src/protocol/fec.ts';
import { PacketizerPair, type PairConditions } from './packetizer-pair.ts';

const PATH = { rtt: 100, rate: 12_500, queue: 1_250_000 };

/** Requests one after the other, each answered with 30 KB; what came of them. */
function ask(path: PairConditions, requests: number): { pair: PacketizerPair; slow: number } {
  const pair = new PacketizerPair(path);
  let answered = 0;
  let began = 0;
  let slow = 0;
  pair.server.onMessage = (id) => pair.server.send(id, 30_000);
  const next = (): void => {
    began = pair.now;
    pair.client.send(answered, 300);
  };
  pair.client.onMessage = () => {
    answered++;
    if (pair.now - began > 1.5 * path.rtt) slow++;
    if (answered < requests) pair.at(pair.now + 30, next);
  };
  next();
  pair.run(1e7, () => answered === requests);
  if (answered < requests) throw new Error(`${answered} answers`);
  return { pair, slow };
}

test('auto: requests on a lossy path wait for a second round trip far less often, on a clean one nothing is sent', async (t) => {
  for (const [loss, burst] of [
    [0.02, 1],
    [0.05, 1],
    [0.02, 3],
  ] as const) {
    const without = ask({ ...PATH, loss, burst }, 300);
    const { pair, slow } = ask({ ...PATH, loss, burst, fec: 'auto' }, 300);
    t.ok(slow < without.slow / 3, `${slow} of 300 slow, ${without.slow} without parity`);
    t.ok(pair.client.packetizer.path!.restored > 0);
    t.equal(pair.client.wrong + pair.server.wrong, 0);
  }
  const { pair } = ask({ ...PATH, fec: 'auto' }, 50);
  t.equal(pair.server.packetizer.path!.parity, 0);
});

test('auto: what fills the path gets none, however much is lost', async (t) => {
  const run = (fec: Fec): { parity: number; received: number; sent: number } => {
    const pair = new PacketizerPair({ ...PATH, loss: 0.02, fec });
    pair.client.send(1, 1e9);
    pair.run(4_000);
    t.equal(pair.server.wrong, 0);
    const { parity, sent } = pair.client.packetizer.path!;
    return { parity, sent, received: pair.server.received };
  };
  const auto = run('auto');
  t.ok(auto.parity < auto.sent / 100, `${auto.parity} parity shards of ${auto.sent}`);
  t.ok(auto.received > 0.97 * run('off').received);
  const fixed = run({ data: 10, parity: 1 });
  t.ok(fixed.parity > fixed.sent / 12 && fixed.parity < fixed.sent / 8, 'one for each ten, told so');
});

test('what is restored still counts as lost: parity does not switch itself off', async (t) => {
  const { pair } = ask({ ...PATH, loss: 0.03, fec: 'auto' }, 400);
  const { parity, sent } = pair.server.packetizer.path!;
  t.ok(parity > sent / 20, `${parity} for ${sent}`);
});

test('what can be restored is not sent again', async (t) => {
  const { pair } = ask({ ...PATH, loss: 0.02, fec: { data: 10, parity: 3 } }, 200);
  const { lost } = pair.server.packetizer.path!;
  const { restored } = pair.client.packetizer.path!;
  t.ok(restored > 50, `${restored} restored`);
  t.ok(lost < restored / 10, `${lost} sent again`);
});
