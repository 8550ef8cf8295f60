import type { Fec } from '../../src/protocol/fec.ts';
import { PacketizerPair, type PairConditions } from '../../test/quic/packetization/packetizer-pair.ts';

/**
 * What parity brings and what it costs, in simulated time: a transfer that fills a path of 100 Mbit/s, and requests of 300 bytes that are answered with so
 * many bytes, each after the one before and a pause. `node build/bench/micro/parity-crossover.js [RTT…]`
 */
const MODES: [string, Fec][] = [
  ['off', 'off'],
  ['auto', 'auto'],
  ['10:1', { data: 10, parity: 1 }],
  ['20:2', { data: 20, parity: 2 }],
];
const LOSSES: [string, number, number][] = [
  ['0', 0, 1],
  ['0.5 %', 0.005, 1],
  ['1 %', 0.01, 1],
  ['2 %', 0.02, 1],
  ['5 %', 0.05, 1],
  ['0.5 %, bursts of 3', 0.005, 3],
  ['1 %, bursts of 3', 0.01, 3],
  ['2 %, bursts of 3', 0.02, 3],
  ['5 %, bursts of 3', 0.05, 3],
];
const RATE = 12_500;
const BULK_MS = 3_000;
const WARM_UP_MS = 2_000;
/** Between an answer and the next request. */
const PAUSE_MS = 50;
const REQUESTS = 600;

const rtts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [20, 100, 200];
console.log(
  '| RTT, loss | | goodput, MB/s | 300 B → 300 B: mean, p50, p99 ms | 300 B → 30 KB: mean, p50, p99 ms | datagrams for 30 KB |',
);
console.log('|---|---|---|---|---|---|');
for (const rtt of rtts) {
  for (const [name, loss, burst] of LOSSES) {
    for (const [mode, fec] of MODES) {
      const path = { rtt, rate: RATE, queue: Math.max(RATE * rtt, 128 * 1024), loss, burst, fec };
      const small = requests(path, 300);
      const large = requests(path, 30_000);
      const cells = [`${rtt} ms, ${name}`, mode, goodput(path).toFixed(1), small.times, large.times, large.datagrams.toFixed(1)];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}

function goodput(path: PairConditions): number {
  const pair = new PacketizerPair(path);
  pair.client.send(1, 1e9);
  pair.run(WARM_UP_MS);
  const before = pair.server.received;
  pair.run(BULK_MS);
  return (pair.server.received - before) / BULK_MS / 1_000;
}

function requests(path: PairConditions, answer: number): { times: string; datagrams: number } {
  const pair = new PacketizerPair({ ...path, seed: 7 });
  const times: number[] = [];
  let began = 0;
  pair.server.onMessage = (id) => pair.server.send(id, answer);
  const ask = (): void => {
    began = pair.now;
    pair.client.send(times.length, 300);
  };
  pair.client.onMessage = () => {
    times.push(pair.now - began);
    pair.at(pair.now + PAUSE_MS, ask);
  };
  ask();
  pair.run(1e7, () => times.length === REQUESTS);
  times.sort((a, b) => a - b);
  const at = (share: number): string => times[Math.floor(times.length * share)]!.toFixed(0);
  const mean = (times.reduce((sum, time) => sum + time, 0) / times.length).toFixed(0);
  return { times: `${mean}, ${at(0.5)}, ${at(0.99)}`, datagrams: pair.server.datagrams / REQUESTS };
}
