import { test } from 'tap';
import { ByteWriter, toHex } from '../../src/protocol/bytes.ts';
import { FRAME, FRAME_HEADER, MAX_CONTROL } from '../../src/protocol/frames.ts';
import {
  decodeCredit,
  decodeGoAway,
  decodeFin,
  decodeHello,
  decodeMove,
  decodeSmall,
  decodeOpen,
  decodePing,
  decodeReject,
  decodeReset,
  decodeWelcome,
  encodeCredit,
  encodeGoAway,
  encodeFin,
  encodeHello,
  encodeMove,
  SMALL_HEADER,
  writeSmall,
  encodeOpen,
  encodePing,
  encodeReject,
  encodeReset,
  encodeWelcome,
  REJECT_REASONS,
  type RejectReason,
} from '../../src/protocol/messages.ts';
import { encodeEndpoints } from '../../src/protocol/proxy-protocol.ts';
import { RESET_REASONS, type ResetReason } from '../../src/protocol/reset.ts';

const violation = { name: 'QtunnelError', code: 'PROTOCOL_VIOLATION' };
const ENDPOINTS = encodeEndpoints({ host: '2001:db8::1', port: 1 }, { host: '2001:db8::2', port: 65_535 });
const settings = {
  initialCredit: 1_048_576,
  maxStreams: 4_096,
  idleTimeout: 30_001,
  shards: 12,
  parity: 1,
  serverOpens: 1,
  datagrams: 9_000,
  reuse: 1,
  lane: 1,
  endpoints: 0,
};
const defaults = {
  initialCredit: 65_536,
  maxStreams: 1_024,
  idleTimeout: 30_000,
  shards: 0,
  parity: 0,
  serverOpens: 0,
  datagrams: 0,
  reuse: 0,
  lane: 0,
  endpoints: 0,
};
const hello = {
  version: 1,
  linkId: '00ff10a5deadbeef',
  nonce: filled(16, 7),
  proof: filled(32, 9),
  software: 'qtunnel 1.2.3',
  settings,
  client: '',
};
const welcome = {
  version: 1,
  nonce: filled(16, 8),
  proof: filled(32, 4),
  software: 'qtunnel',
  resetToken: filled(16, 5),
  settings,
};

/** A SMALL frame, written where other frames are. */
function small(stream: number, bytes: Uint8Array): Uint8Array {
  const into = new Uint8Array(10 + SMALL_HEADER + bytes.length);
  return into.slice(10, writeSmall(into, 10, stream, bytes));
}

/** Each message with what its payload must come back as. */
const MESSAGES: [name: string, type: number, wire: Uint8Array, decode: (payload: Uint8Array) => unknown, expected: unknown][] = [
  ['HELLO', FRAME.HELLO, encodeHello(hello), decodeHello, hello],
  [
    'HELLO without proof',
    FRAME.HELLO,
    encodeHello({ ...hello, proof: filled(0, 0) }),
    decodeHello,
    { ...hello, proof: filled(0, 0) },
  ],
  ['HELLO', FRAME.HELLO, encodeHello({ ...hello, client: 'laptop' }), decodeHello, { ...hello, client: 'laptop' }],
  ['WELCOME', FRAME.WELCOME, encodeWelcome(welcome), decodeWelcome, welcome],
  ['REJECT', FRAME.REJECT, encodeReject('BUSY', 'later'), decodeReject, { reason: 'BUSY', message: 'later' }],
  ['PING', FRAME.PING, encodePing(FRAME.PING, filled(8, 3)), decodePing, filled(8, 3)],
  ['PONG', FRAME.PONG, encodePing(FRAME.PONG, filled(8, 3)), decodePing, filled(8, 3)],
  ['GOAWAY', FRAME.GOAWAY, encodeGoAway('restart'), decodeGoAway, { message: 'restart', drained: false }],
  ['GOAWAY', FRAME.GOAWAY, encodeGoAway('', true), decodeGoAway, { message: '', drained: true }],
  ['OPEN', FRAME.OPEN, encodeOpen(2, '0123456789abcdef', 'db'), decodeOpen, { stream: 2, tag: '0123456789abcdef', target: 'db' }],
  [
    'OPEN',
    FRAME.OPEN,
    encodeOpen(2, '0123456789abcdef', 'db', ENDPOINTS),
    decodeOpen,
    { stream: 2, tag: '0123456789abcdef', target: 'db', endpoints: ENDPOINTS },
  ],
  ['FIN', FRAME.FIN, encodeFin(2 ** 30), decodeFin, 2 ** 30],
  ['MOVE', FRAME.MOVE, encodeMove(6, 10), decodeMove, { stream: 6, quicStream: 10 }],
  ['SMALL', FRAME.SMALL, small(2 ** 14, filled(3, 1)), decodeSmall, { stream: 2 ** 14, offset: 4 }],
  ['SMALL without bytes', FRAME.SMALL, small(63, filled(0, 1)), decodeSmall, { stream: 63, offset: 1 }],
  ['RESET', FRAME.RESET, encodeReset(77, 'LIMIT', 'full'), decodeReset, { stream: 77, reason: 'LIMIT', message: 'full' }],
  ['CREDIT', FRAME.CREDIT, encodeCredit(4, 2 ** 40), decodeCredit, { stream: 4, offset: 2 ** 40 }],
];

for (const [name, type, wire, decode, expected] of MESSAGES) {
  test(`${name} comes back as it was written`, async (t) => {
    t.equal(wire[0], type);
    t.equal((wire[1]! << 16) | (wire[2]! << 8) | wire[3]!, wire.length - FRAME_HEADER, 'the header has the payload’s length');
    t.strictSame(decode(wire.subarray(FRAME_HEADER)), expected);
  });

  test(`${name} cut short is a protocol violation`, async (t) => {
    const payload = wire.subarray(FRAME_HEADER);
    // A settings list ends where the payload ends, so it is whole after each of its pairs.
    const whole = 'settings' in Object(expected) ? settingsEnds(payload) : [payload.length];
    // HELLO is whole without the client's name, too.
    if (Object(expected).client === 'laptop') whole.splice(0, whole.length, ...settingsEnds(payload.subarray(0, -8)));
    // SMALL holds as many bytes as there are.
    if (type === FRAME.SMALL) for (let length = decodeSmall(payload).offset; length < payload.length; length++) whole.push(length);
    // OPEN is whole without them, too.
    if ('endpoints' in Object(expected)) whole.push(payload.length - ENDPOINTS.length);
    for (let length = 0; length < payload.length; length++) {
      if (whole.includes(length)) t.doesNotThrow(() => decode(payload.slice(0, length)), `${length} bytes`);
      else t.throws(() => decode(payload.slice(0, length)), violation, `${length} bytes`);
    }
  });
}

test('bytes after the known fields are ignored', async (t) => {
  for (const [name, , wire, decode, expected] of MESSAGES) {
    if ('settings' in Object(expected)) continue;
    t.strictSame(decode(Uint8Array.of(...wire.subarray(FRAME_HEADER), 1, 2, 3)), expected, name);
  }
});

test('settings: the bytes on the wire', async (t) => {
  const withoutSettings = 1 + 8 + 16 + 33 + 1 + hello.software.length;
  const list = encodeHello(hello).subarray(FRAME_HEADER + withoutSettings);
  t.equal(toHex(list), ['0180100000', '025000', '0380007531', '040c', '0501', '0601', '076328', '1001', '1101', '2000'].join(''));
});

test('settings: unknown ones are ignored, missing ones have their defaults', async (t) => {
  const base = encodeHello(hello).subarray(FRAME_HEADER, FRAME_HEADER + 1 + 8 + 16 + 33 + 1 + hello.software.length);
  const read = (list: ByteWriter) => decodeHello(Uint8Array.of(...base, ...list.finish())).settings;
  t.same(read(new ByteWriter()), defaults);
  t.same(read(new ByteWriter().varint(2).varint(5)), { ...defaults, maxStreams: 5 });
  t.same(read(new ByteWriter().varint(0).varint(1).varint(999_999).varint(2).varint(3).varint(4)), { ...defaults, idleTimeout: 4 });
  t.same(read(new ByteWriter().varint(4).varint(16)), { ...defaults, shards: 16 });
  t.same(read(new ByteWriter().varint(5).varint(1)), { ...defaults, parity: 1 });
  t.same(read(new ByteWriter().varint(6).varint(1)), { ...defaults, serverOpens: 1 });
  t.same(read(new ByteWriter().varint(7).varint(9_000)), { ...defaults, datagrams: 9_000 });
  t.same(read(new ByteWriter().varint(16).varint(1)), { ...defaults, reuse: 1 });
  t.same(read(new ByteWriter().varint(17).varint(1)), { ...defaults, lane: 1 });
  t.same(read(new ByteWriter().varint(32).varint(1)), { ...defaults, endpoints: 1 });
  t.throws(() => read(new ByteWriter().varint(1)), violation, 'an id without a value');
});

test('a proof is 32 bytes or none, its length written in one byte', async (t) => {
  // Any other form would let bytes stand in the message that the proof does not cover.
  const head = Uint8Array.of(1, ...filled(8, 1), ...filled(16, 2));
  const tail = [0, ...filled(16, 1)];
  for (const length of [[1], [31], [33], [0x40, 0], [0x40, 32], [0x80, 0, 0, 32]]) {
    const proof = filled(length.at(-1)!, 1);
    t.throws(() => decodeHello(Uint8Array.of(...head, ...length, ...proof, ...tail)), violation, `HELLO ${length}`);
    t.throws(
      () => decodeWelcome(Uint8Array.of(...head.slice(0, 17), ...length, ...proof, ...tail)),
      violation,
      `WELCOME ${length}`,
    );
  }
});

test('every reason of REJECT and RESET comes back', async (t) => {
  for (const reason of Object.keys(REJECT_REASONS) as RejectReason[]) {
    t.equal(decodeReject(encodeReject(reason, '').subarray(FRAME_HEADER)).reason, reason);
  }
  for (const reason of Object.keys(RESET_REASONS) as ResetReason[]) {
    t.equal(decodeReset(encodeReset(1, reason, '').subarray(FRAME_HEADER)).reason, reason);
  }
  t.equal(decodeReject(Uint8Array.of(99, 0)).reason, 'PROTOCOL', 'a REJECT of a later version');
  t.equal(decodeReset(Uint8Array.of(1, 99, 0)).reason, 'RESET', 'a RESET of a later version');
});

test('a long message is cut, so that its frame stays within the limit', async (t) => {
  for (const text of ['x'.repeat(10_000), '日'.repeat(10_000), '👍'.repeat(10_000)]) {
    for (const wire of [encodeReset(1, 'RESET', text), encodeReject('AUTH', text), encodeGoAway(text)]) {
      t.ok(wire.length <= FRAME_HEADER + MAX_CONTROL, `${wire.length} bytes`);
    }
  }
  t.equal(decodeGoAway(encodeGoAway('x'.repeat(500)).subarray(FRAME_HEADER)).message, 'x'.repeat(200));
});

test('a peer’s texts are made harmless in every message', async (t) => {
  const evil = 'a\x1b[2Jb\nc';
  const harmless = 'a [2Jb c';
  t.equal(decodeHello(encodeHello({ ...hello, software: evil }).subarray(FRAME_HEADER)).software, harmless);
  t.equal(decodeWelcome(encodeWelcome({ ...welcome, software: evil }).subarray(FRAME_HEADER)).software, harmless);
  t.equal(decodeReject(encodeReject('AUTH', evil).subarray(FRAME_HEADER)).message, harmless);
  t.equal(decodeGoAway(encodeGoAway(evil).subarray(FRAME_HEADER)).message, harmless);
  t.equal(decodeOpen(encodeOpen(2, '0123456789abcdef', evil).subarray(FRAME_HEADER)).target, harmless);
  t.equal(decodeReset(encodeReset(1, 'RESET', evil).subarray(FRAME_HEADER)).message, harmless);
});

function filled(length: number, value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(value);
}

/** Where the list of the four settings above may end: before it, and after each pair (the ids take one byte). */
function settingsEnds(payload: Uint8Array): number[] {
  const ends = [payload.length];
  for (const pair of [1 + 1, 1 + 1, 1 + 1, 1 + 2, 1 + 1, 1 + 1, 1 + 1, 1 + 4, 1 + 2, 1 + 4]) ends.unshift(ends[0]! - pair);
  return ends;
}
