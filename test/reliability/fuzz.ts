import { fuzzBlocks } from '../fuzz/blocks.ts';
import { fuzzGreetings, fuzzTransfer } from '../fuzz/connection.ts';
import { fuzzLink } from '../fuzz/link.ts';
import { fuzzDatagramParsers } from '../fuzz/parsers.ts';
import { fuzzTls } from '../fuzz/tls.ts';
import type { Experiment } from './experiment.ts';

/** A million inputs that somebody has changed. What fails says its seed, which then becomes a test in test/fuzz. */
export function fuzz(): Experiment {
  return {
    name: 'fuzz',
    title: 'a million mutated datagrams, shards and frames',
    absence: () => false,
    run: async (trial) => {
      const seed = Number(process.env['SEED'] ?? 1);
      await trial.part(`${thousands(420_000)} datagrams, shards and parity for the parsers, seed ${seed}`, async () => {
        const verdicts = Object.values(fuzzDatagramParsers(420_000, seed));
        const taken = verdicts.reduce((sum, one) => sum + one.taken, 0);
        return `${verdicts.length} parsers; ${thousands(taken)} taken, the rest refused; none broke`;
      });
      await trial.part(`${thousands(200_000)} forged datagrams for the block layer while it carries packets`, async () => {
        const { packets, spoiled } = fuzzBlocks(200_000, seed);
        return `${thousands(packets)} packets came, ${thousands(spoiled)} of them spoiled, for QUIC to repair; the rest of each transfer came`;
      });
      await trial.part(`${thousands(20_000)} datagrams of a peer that signs false reports and probes`, async () => {
        fuzzBlocks(20_000, seed, { lying: true });
        return 'nothing broke';
      });
      await trial.part(`${thousands(300_000)} frames of a proven peer that means ill`, async () => {
        const { links, violations } = fuzzLink(300_000, seed);
        return `${thousands(links)} links, of which ${thousands(violations)} were closed for it; nothing broke, no stream was left`;
      });
      await trial.part(`${thousands(300_000)} frames into the TLS driver, before and after the proof`, async () => {
        const { links, violations, refusals, bytes } = await fuzzTls(300_000, seed);
        const carried = `${(bytes / 1e6).toFixed(0)} MB carried`;
        return `${thousands(links)} links; ${thousands(violations)} links and streams ended for it, ${thousands(refusals)} greetings refused; ${carried}; nothing broke, nothing was left`;
      });
      for (const [what, key] of [['with', undefined] as const, ['without', null] as const])
        await trial.part(`${thousands(30_000)} forged datagrams during greetings ${what} a secret, to both sides`, async () => {
          const { links } = await fuzzGreetings(30_000, seed, key);
          return `${links} links came up all the same; the one after it did; nobody was left`;
        });
      await trial.part(`${thousands(5_000)} forged datagrams during transfers, to both sides`, async () => {
        let bytes = 0;
        for (let n = 0; n < 10; n++) bytes += (await fuzzTransfer(500, seed + n)).bytes;
        return `${(bytes / 1e6).toFixed(0)} MB, every byte came; the links stayed`;
      });
    },
  };
}

function thousands(count: number): string {
  return count.toLocaleString('en');
}
