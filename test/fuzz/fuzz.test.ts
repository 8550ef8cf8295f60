import { test } from 'tap';
import { fuzzBlocks } from './blocks.ts';
import { fuzzGreetings, fuzzTransfer } from './connection.ts';
import { fuzzLink } from './link.ts';
import { fuzzDatagramParsers } from './parsers.ts';
import { fuzzTls } from './tls.ts';

// `npm run reliability fuzz` does a million; what fails there gets a case of its own here, by its seed.

test('the parsers of datagrams take mutants or refuse them', async (t) => {
  for (const [name, { taken, refused }] of Object.entries(fuzzDatagramParsers(10_000, 1)))
    t.ok(taken > 10 && refused > 10, `${name}: ${taken} taken, ${refused} refused`);
});

test('forged shards, parity, reports and probes cost packets, and nothing else', async (t) => {
  const { packets, spoiled } = fuzzBlocks(3_000, 1);
  t.ok(packets > 100 && spoiled > 0, `${packets} packets, ${spoiled} spoiled`);
});

test('a peer that makes reports and probes up breaks nothing', async (t) => {
  t.equal(fuzzBlocks(500, 2, { lying: true }).datagrams, 500);
});

test('frames of a proven peer that means ill end its link at most', async (t) => {
  const { links, violations, bytes, datagrams } = fuzzLink(10_000, 1);
  t.ok(
    violations > 0 && violations < links && bytes > 100_000 && datagrams > 100,
    `${violations} of ${links} links ended, ${bytes} bytes, ${datagrams} datagrams`,
  );
});

test('frames over TLS, before and after the proof, end what they came on at most', async (t) => {
  const { links, violations, refusals, bytes } = await fuzzTls(6_000, 1);
  t.ok(
    violations > 0 && refusals > 0 && bytes > 100_000,
    `${violations} violations, ${refusals} refusals, ${links} links, ${bytes} bytes`,
  );
});

// By seed: a wrong ATTACH ahead of its OPEN left a stream without a connection, and OPEN ended the process.
test('what the fuzzer of the TLS driver has found', async (t) => {
  for (const seed of [864]) t.ok((await fuzzTls(1, seed)).frames > 0);
});

test('forged datagrams during greetings: the next attempt comes up', async (t) => {
  for (const key of [undefined, null]) t.ok((await fuzzGreetings(800, 1, key)).links > 0);
});

test('forged datagrams during transfers: every byte comes, and the link stays', async (t) => {
  t.ok((await fuzzTransfer(50, 1)).bytes > 0);
});
