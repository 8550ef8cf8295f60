import { FATES, returnWithLoss } from '../quic/early-loss.ts';
import { KINDS, loseOnce } from '../quic/lost-once.ts';
import type { Experiment } from './experiment.ts';

/** Both ends of a link in one process, over a simulated network that loses single datagrams of a link's whole life. */
export function lostOnce(): Experiment {
  return {
    name: 'lost-once',
    title: 'what changes credit or ends a stream, and every other datagram of a link, is lost once',
    absence: () => false,
    run: async (trial) => {
      for (const blocks of [true, false]) {
        const where = blocks ? 'with blocks' : 'without blocks';
        await trial.part(`each of ${KINDS.join(', ')}, of either side, ${where}`, async () => {
          let links = 0;
          for (let round = 0; round < ROUNDS; round++)
            for (const from of ['client', 'server'] as const)
              for (const what of KINDS) {
                await loseOnce(blocks, { from, what });
                links++;
              }
          return `${links} links: nothing stood still, nothing was left`;
        });
        await trial.part(`each single datagram of a link's life, ${where}`, async (_, say) => {
          let links = 0;
          for (const from of ['client', 'server'] as const) {
            let { sent } = await loseOnce(blocks, { from, what: 0 });
            for (let what = 1; what < sent[from]; what++, links++) {
              ({ sent } = await loseOnce(blocks, { from, what }));
              if (what % 200 === 0) say(`${from}: ${what} of ${sent[from]}`);
            }
          }
          return `${links} links: nothing stood still, nothing was left`;
        });
      }
      for (const fate of FATES) {
        await trial.part(`a client comes back with a ticket that is ${fate}: each datagram is lost once`, async () => {
          const { client, server } = await returnWithLoss(fate, {});
          await eachOf(client, (nth) => returnWithLoss(fate, { from: 'client', nth }));
          await eachOf(server, (nth) => returnWithLoss(fate, { from: 'server', nth }));
          return `${client + server} links: all came up, and everything came once`;
        });
        await trial.part(`the same at 30 % loss each way, a round trip of 50 ms`, async () => {
          let down = 0;
          await eachOf(LOSSY, (seed) => returnWithLoss(fate, { loss: 0.3, delay: 25 }, seed).catch(() => void down++));
          return `${LOSSY - down} of ${LOSSY} links came up at the first attempt`;
        });
      }
    },
  };
}

/** Several at once: they mostly wait. */
async function eachOf(count: number, run: (number: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - at) }, (_, index) => run(at + index)));
}

const AT_ONCE = 20;
const LOSSY = 100;
const ROUNDS = 10;
