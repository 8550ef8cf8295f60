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
    },
  };
}

const ROUNDS = 10;
