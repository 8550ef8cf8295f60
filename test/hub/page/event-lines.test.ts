import { test } from 'tap';
import { EventLines } from '../../../src/hub/page/event-lines.ts';

test('events come out whole, wherever the stream was cut', async (t) => {
  const text = 'event: moment\ndata: {"a":1}\n\n: comment\n\nevent: moment\ndata: {"a":\ndata: 2}\n\nevent: mom';
  for (let cut = 1; cut < text.length; cut++) {
    const lines = new EventLines();
    const events = [text.slice(0, cut), text.slice(cut)].flatMap((piece) => lines.push(piece));
    t.strictSame(events, ['{"a":1}', '{"a":\n2}'], `cut at ${cut}`);
  }
});

test('an event without an end is not kept for ever', async (t) => {
  const lines = new EventLines();
  t.throws(() => {
    for (let n = 0; n < 100; n++) lines.push('x'.repeat(100_000));
  }, /without an end/);
});
