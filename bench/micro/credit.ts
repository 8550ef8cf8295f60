import { CreditBudget, ReceiveCredit, SendCredit } from '../../src/protocol/credit.ts';
import type { Case } from './case.ts';

/** What each chunk of a stream costs in book-keeping, at both ends. */
export function creditCases(): Case[] {
  const sender = new SendCredit(WINDOW);
  const receiver = new ReceiveCredit(WINDOW, 4 * WINDOW, new CreditBudget(64 * WINDOW), 0);
  let now = 0;
  const run = () => {
    for (let i = 0; i < CHUNKS; i++) {
      sender.handleSent(CHUNK);
      receiver.handleConsumed(CHUNK);
      const offset = receiver.pollCredit((now += 0.1), 1);
      if (offset > 0) sender.handleCredit(offset);
      if (sender.available < CHUNK) throw new Error('The credit ran out.');
    }
  };
  return [{ name: 'credit: send, consume and grant', bytes: 0, operations: CHUNKS, run }];
}

const WINDOW = 256 * 1024;
const CHUNK = 16_384;
const CHUNKS = 1_000;
