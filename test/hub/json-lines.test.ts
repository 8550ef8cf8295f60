import { type Test, test } from 'tap';
import { JsonLines, LONGEST } from '../../src/hub/json-lines.ts';
import { LinkRecorder, type StreamRecorder } from '../link/recorder.ts';
import { eventually } from '../support/deadline.ts';
import { makePair } from '../tls/pair.ts';

interface Conversation {
  readonly lines: JsonLines;
  readonly messages: unknown[];
  readonly ends: string[];
  readonly far: StreamRecorder;
}

async function conversation(t: Test, onMessage: (message: unknown) => void | Promise<void> = () => {}): Promise<Conversation> {
  const pair = await makePair();
  t.teardown(() => pair.close());
  const server = new LinkRecorder(pair.server);
  const messages: unknown[] = [];
  const ends: string[] = [];
  const lines = new JsonLines(pair.client.open({ tag: '0123456789abcdef', target: '' }), {
    onMessage: (message) => {
      messages.push(message);
      return onMessage(message);
    },
    onEnd: (reason) => void ends.push(reason),
  });
  const { recorder: far } = await server.accept();
  return { lines, messages, ends, far };
}

void test('lines both ways, however they are cut; then each side ends', async (t) => {
  const it = await conversation(t);
  for (const piece of ['{"a":1}\n{"b"', ':2}', '\n', '"ü"\n[]', '\n']) await it.far.write(Buffer.from(piece));
  await eventually('four messages', () => it.messages.length === 4);
  t.strictSame(it.messages, [{ a: 1 }, { b: 2 }, 'ü', []]);
  const big = { text: 'x'.repeat(100_000) };
  it.lines.send(big);
  it.lines.send({ more: true });
  it.lines.end();
  await it.far.end();
  t.equal(it.far.text, `${JSON.stringify(big)}\n{"more":true}\n`);
  t.equal(it.lines.isOpen, false);
});

void test('the next message waits until the one before has been dealt with', async (t) => {
  let go!: () => void;
  const busy = new Promise<void>((resolve) => (go = resolve));
  const it = await conversation(t, () => busy);
  await it.far.write(Buffer.from('1\n2\n'));
  await eventually('the first', () => it.messages.length === 1);
  await it.far.write(Buffer.from('3\n'));
  t.strictSame(it.messages, [1]);
  go();
  await eventually('the others', () => it.messages.length === 3);
  it.far.stream.end();
  await eventually('the end', () => it.ends.length === 1);
  t.strictSame(it.ends, ['']);
  await it.far.end();
});

for (const [what, bytes] of [
  ['what is not JSON', Buffer.from('{"a":\n')],
  ['a line without an end', Buffer.alloc(LONGEST + 20_000, 0x20)],
] as const) {
  void test(`${what} ends the conversation`, async (t) => {
    const it = await conversation(t);
    await it.far.write(bytes).catch(() => {});
    t.equal((await it.far.reset()).reason, 'PROTOCOL');
    t.equal(it.ends.length, 1);
    t.strictSame(it.messages, []);
  });
}

void test('a reset is told once, and nothing is sent any more', async (t) => {
  const it = await conversation(t);
  it.far.stream.reset('SHUTDOWN', 'enough');
  await eventually('the end', () => it.ends.length === 1);
  t.strictSame(it.ends, ['enough']);
  it.lines.send({});
  it.lines.end();
  t.equal(it.ends.length, 1);
});
