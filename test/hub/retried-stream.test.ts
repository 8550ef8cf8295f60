import { test } from 'tap';
import { RetriedStream } from '../../src/hub/retried-stream.ts';
import { END, type LinkStream, type StreamHandler } from '../../src/link/link.ts';

/** A stream with so much room; it says what it is given to say. */
class FakeStream implements LinkStream {
  readonly id = 1;
  handler: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
  room: number;
  readonly written: number[] = [];
  says: number[] = [];
  ended = false;
  hasEnded = false;
  resetFor = '';

  constructor(room = Infinity) {
    this.room = room;
  }

  get text(): string {
    return Buffer.from(this.written).toString();
  }

  read(into: Uint8Array): number {
    if (this.says.length === 0) return this.hasEnded ? END : 0;
    into.set(this.says);
    return this.says.splice(0).length;
  }

  write(chunk: Uint8Array): number {
    const taken = Math.min(this.room, chunk.length);
    this.room -= taken;
    this.written.push(...chunk.subarray(0, taken));
    return taken;
  }

  end(): void {
    this.ended = true;
  }

  reset(reason: string): void {
    this.resetFor = reason;
  }
}

function setUp(first: FakeStream, ...others: FakeStream[]) {
  const resets: string[] = [];
  let writable = 0;
  const stream = new RetriedStream(first, () => others.shift() ?? null);
  stream.handler = {
    onReadable() {},
    onWritable: () => void writable++,
    onReset: (reason, message) => void resets.push(`${reason} ${message}`),
  };
  return { stream, resets, writable: () => writable };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

void test('the next stream is told all that the one before was, as it takes it, and then what follows', async (t) => {
  const [first, second] = [new FakeStream(8), new FakeStream(3)];
  const { stream, resets, writable } = setUp(first, second);
  t.equal(stream.write(bytes('hello')), 5);
  t.equal(stream.write(bytes('you there')), 3, 'no more than there is room for');
  first.handler.onReset('DIAL_REFUSED', 'nobody');
  t.equal(second.text, 'hel');
  t.equal(stream.write(bytes('x')), 0, 'not before the rest');
  t.equal(writable(), 0);
  second.room = 100;
  second.handler.onWritable();
  t.equal(second.text, 'helloyou');
  t.equal(writable(), 1);
  t.equal(stream.write(bytes(' there')), 6);
  stream.end();
  t.equal(second.text, 'helloyou there');
  t.equal(second.ended, true);
  t.strictSame(resets, []);
});

void test('an end that was said is said again, behind everything', async (t) => {
  const [first, second] = [new FakeStream(), new FakeStream(2)];
  const { stream } = setUp(first, second);
  stream.write(bytes('hello'));
  stream.end();
  first.handler.onReset('NO_BACKEND', 'not in -allow');
  t.strictSame([second.text, second.ended], ['he', false]);
  second.room = 100;
  second.handler.onWritable();
  t.strictSame([second.text, second.ended], ['hello', true]);
});

void test('nobody else is asked without a refusal, once the target has spoken, or when too much was said; the last refusal is told', async (t) => {
  const into = new Uint8Array(100);
  for (const [name, before, reason] of [
    ['a reset of the target', () => {}, 'RESET'],
    ['a link that was lost', () => {}, 'LINK_LOST'],
    [
      'it has spoken',
      (first: FakeStream, stream: LinkStream) => {
        first.says = [1];
        stream.read(into);
      },
      'DIAL_REFUSED',
    ],
    [
      'it has ended',
      (first: FakeStream, stream: LinkStream) => {
        first.hasEnded = true;
        stream.read(into);
      },
      'DIAL_REFUSED',
    ],
    ['64 KiB', (_first: FakeStream, stream: LinkStream) => void stream.write(new Uint8Array(65_537)), 'DIAL_REFUSED'],
  ] as const) {
    const [first, second] = [new FakeStream(), new FakeStream()];
    const { stream, resets } = setUp(first, second);
    before(first, stream);
    first.handler.onReset(reason, 'why');
    t.strictSame([resets, second.text], [[`${reason} why`], ''], name);
  }
  const [first, second] = [new FakeStream(), new FakeStream()];
  const { stream, resets } = setUp(first, second);
  stream.write(new Uint8Array(65_536));
  first.handler.onReset('LIMIT', 'one');
  t.equal(second.written.length, 65_536);
  second.handler.onReset('DIAL_TIMEOUT', 'two');
  t.strictSame(resets, ['DIAL_TIMEOUT two']);
});
