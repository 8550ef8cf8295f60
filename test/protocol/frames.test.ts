import { test } from 'tap';
import { FRAME, frame, FrameReader, MAX_CONTROL, MAX_DATA, type FrameHandler } from '../../src/protocol/frames.ts';
import { toHex } from '../../src/protocol/bytes.ts';
import { integerBetween, seededRandom } from '../support/random.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };

test('a header is a type and a length of three bytes', async (t) => {
  t.equal(toHex(frame(FRAME.PING, Uint8Array.of(1, 2))), '040000020102');
  t.equal(toHex(frame(FRAME.DATA, new Uint8Array(MAX_DATA)).subarray(0, 4)), '11010000');
});

test('two splits at any positions give the same frames', async (t) => {
  const wire = sequence();
  const expected = read([wire]);
  t.same(
    expected.map(({ type, bytes }) => [type, bytes.length / 2]),
    [
      [FRAME.OPEN, 9],
      [FRAME.FIN, 0],
      [FRAME.DATA, 5],
      [FRAME.GOAWAY, 1],
      [FRAME.FIN, 0],
      [FRAME.DATA, 3],
    ],
  );
  for (let first = 0; first <= wire.length; first++) {
    for (let second = first; second <= wire.length; second++) {
      const got = read([wire.subarray(0, first), wire.subarray(first, second), wire.subarray(second)]);
      if (JSON.stringify(got) !== JSON.stringify(expected)) return void t.same(got, expected, `split at ${first} and ${second}`);
    }
  }
});

test('byte by byte gives the same frames', async (t) => {
  const wire = sequence();
  t.same(read(Array.from(wire, (byte) => Uint8Array.of(byte))), read([wire]));
});

test('DATA is handed on as it arrives, without a copy', async (t) => {
  const wire = frame(FRAME.DATA, Uint8Array.of(1, 2, 3, 4));
  const parts: Uint8Array[] = [];
  const reader = new FrameReader({ onFrame: () => t.fail('no other frame'), onData: (part) => parts.push(part) });
  reader.push(wire.subarray(0, 6));
  t.same([...parts[0]!], [1, 2], 'the first part is there before the second has arrived');
  t.equal(parts[0]!.buffer, wire.buffer);
  t.notOk(reader.atBoundary);
  reader.push(wire.subarray(6));
  t.same([...parts[1]!], [3, 4]);
  t.ok(reader.atBoundary);
});

test('DATA without bytes is no data and no end', async (t) => {
  const reader = new FrameReader({ onFrame: () => t.fail('no frame'), onData: () => t.fail('no data') });
  t.equal(reader.push(frame(FRAME.DATA, new Uint8Array(0))), 4);
  t.ok(reader.atBoundary);
});

test('a boundary is only between frames', async (t) => {
  const wire = frame(FRAME.PING, new Uint8Array(8));
  for (let length = 0; length <= wire.length; length++) {
    const reader = new FrameReader(silent);
    reader.push(wire.subarray(0, length));
    t.equal(reader.atBoundary, length === 0 || length === wire.length, `${length} bytes`);
  }
});

test('every type that is not in the table is refused, with its header', async (t) => {
  const known = new Set<number>(Object.values(FRAME));
  for (let type = 0; type < 256; type++) {
    const push = () => new FrameReader(silent).push(Uint8Array.of(type, 0, 0, 0));
    if (known.has(type)) t.doesNotThrow(push);
    else t.throws(push, violation);
  }
});

test('the longest frame of each type is taken, one byte more is refused with its header', async (t) => {
  for (const type of Object.values(FRAME)) {
    const longest = type === FRAME.DATA ? MAX_DATA : MAX_CONTROL;
    const got = read([frame(type, new Uint8Array(longest))]);
    t.equal(got.length, 1);
    t.equal(got[0]!.bytes.length / 2, longest);
    const header = frame(type, new Uint8Array(longest + 1)).subarray(0, 4);
    t.throws(() => new FrameReader(silent).push(header), violation);
    t.throws(() => new FrameReader(silent).push(Uint8Array.of(type, 255, 255, 255)), violation);
  }
});

test('pause stops after the frame or part, and the rest goes on where it stopped', async (t) => {
  const wire = sequence();
  for (let pauseAfter = 0; pauseAfter < 6; pauseAfter++) {
    const got = collector();
    let calls = 0;
    const count = () => {
      if (calls++ === pauseAfter) reader.pause();
    };
    const reader = new FrameReader({
      onFrame: (type, payload) => (got.handler.onFrame(type, payload), count()),
      onData: (part) => (got.handler.onData(part), count()),
    });
    const taken = reader.push(wire);
    t.equal(calls, pauseAfter + 1, 'nothing is handed on after the pause');
    if (pauseAfter < 5) t.ok(taken < wire.length);
    t.equal(reader.push(wire.subarray(taken)), wire.length - taken);
    t.same(got.frames(), read([wire]));
  }
});

test('a random pause at random splits loses and repeats nothing', async (t) => {
  const random = seededRandom(7);
  const wire = sequence();
  const expected = JSON.stringify(read([wire]));
  for (let round = 0; round < 2_000; round++) {
    const got = collector();
    const maybePause = () => {
      if (random() < 0.5) reader.pause();
    };
    const reader = new FrameReader({
      onFrame: (type, payload) => (got.handler.onFrame(type, payload), maybePause()),
      onData: (part) => (got.handler.onData(part), maybePause()),
    });
    for (let at = 0; at < wire.length;) at += reader.push(wire.subarray(at, at + integerBetween(random, 1, 12)));
    if (JSON.stringify(got.frames()) !== expected) return void t.same(got.frames(), JSON.parse(expected), `round ${round}`);
  }
});

test('an error of the handler comes out of push, and the frame it threw at is not repeated', async (t) => {
  const error = new Error('the handler failed');
  for (const type of [FRAME.OPEN, FRAME.FIN, FRAME.DATA]) {
    const got = collector();
    let failing = true;
    const fail = () => {
      if (failing) throw error;
    };
    const reader = new FrameReader({
      onFrame: (kind, payload) => (fail(), got.handler.onFrame(kind, payload)),
      onData: (part) => (fail(), got.handler.onData(part)),
    });
    t.throws(() => reader.push(frame(type, type === FRAME.FIN ? new Uint8Array(0) : new Uint8Array(9))), error);
    t.ok(reader.atBoundary);
    failing = false;
    reader.push(frame(FRAME.PING, Uint8Array.of(1)));
    t.same(got.frames(), [{ type: FRAME.PING, bytes: '01' }]);
  }
});

interface ReadFrame {
  readonly type: number;
  readonly bytes: string;
}

/** Frames with a payload, without one, DATA, and neighbours of each kind. */
function sequence(): Uint8Array<ArrayBuffer> {
  const frames = [
    frame(FRAME.OPEN, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 0)),
    frame(FRAME.FIN, new Uint8Array(0)),
    frame(FRAME.DATA, Uint8Array.of(1, 2, 3, 4, 5)),
    frame(FRAME.GOAWAY, Uint8Array.of(0)),
    frame(FRAME.DATA, new Uint8Array(0)),
    frame(FRAME.FIN, new Uint8Array(0)),
    frame(FRAME.DATA, Uint8Array.of(6, 7, 8)),
  ];
  return Uint8Array.from(Buffer.concat(frames));
}

function read(chunks: Uint8Array[]): ReadFrame[] {
  const got = collector();
  const reader = new FrameReader(got.handler);
  for (const chunk of chunks) if (reader.push(chunk) !== chunk.length) throw new Error('push did not take all');
  return got.frames();
}

/** Collects frames; parts of DATA that follow one another count as one. */
function collector(): { handler: FrameHandler; frames: () => ReadFrame[] } {
  const frames: ReadFrame[] = [];
  return {
    handler: {
      onFrame: (type, payload) => void frames.push({ type, bytes: toHex(payload) }),
      onData(part) {
        const last = frames.at(-1);
        const joined = last?.type === FRAME.DATA ? frames.pop()!.bytes : '';
        frames.push({ type: FRAME.DATA, bytes: joined + toHex(part) });
      },
    },
    frames: () => frames,
  };
}

const silent: FrameHandler = { onFrame: () => undefined, onData: () => undefined };
