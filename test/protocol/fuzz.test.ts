import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { FRAME, frame, FrameReader } from '../../src/protocol/frames.ts';
import { ClientHandshake, judgeHello, type HandshakeContext } from '../../src/protocol/handshake.ts';
import {
  decodeCredit,
  decodeGoAway,
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
  encodeOpen,
  encodePing,
  encodeReject,
  encodeReset,
  encodeWelcome,
} from '../../src/protocol/messages.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

const ROUNDS = 200_000;
const SEED = 20_250_101;

const settings = {
  initialCredit: 65_536,
  maxStreams: 1_024,
  idleTimeout: 30_000,
  shards: 16,
  parity: 1,
  serverOpens: 1,
  datagrams: 9_000,
  reuse: 1,
  lane: 1,
  endpoints: 0,
};
const nonce = new Uint8Array(16).fill(1);
const proof = new Uint8Array(32).fill(2);
const VALID: Uint8Array[] = [
  encodeHello({ version: 1, linkId: '0123456789abcdef', nonce, proof, software: 'qtunnel', settings, client: 'laptop' }),
  encodeWelcome({ version: 1, nonce, proof, software: 'qtunnel', resetToken: nonce, settings }),
  encodeReject('AUTH', 'no'),
  encodePing(FRAME.PING, new Uint8Array(8)),
  encodeGoAway('bye'),
  encodeOpen(2, '0123456789abcdef', 'target'),
  encodeOpen(2, '0123456789abcdef', '', Uint8Array.of(0x11, ...Array<number>(12).fill(7))),
  frame(FRAME.DATA, new Uint8Array(20)),
  frame(FRAME.FIN, new Uint8Array(0)),
  encodeFin(2),
  encodeMove(2, 6),
  frame(FRAME.SMALL, Uint8Array.of(0x40, 0x41, 1, 2, 3)),
  encodeReset(4, 'RESET', 'reset'),
  encodeCredit(4, 2 ** 40),
];

const DECODERS: ReadonlyMap<number, (payload: Uint8Array) => unknown> = new Map<number, (payload: Uint8Array) => unknown>([
  [FRAME.HELLO, decodeHello],
  [FRAME.WELCOME, decodeWelcome],
  [FRAME.REJECT, decodeReject],
  [FRAME.PING, decodePing],
  [FRAME.PONG, decodePing],
  [FRAME.GOAWAY, decodeGoAway],
  [FRAME.OPEN, decodeOpen],
  [FRAME.MOVE, decodeMove],
  [FRAME.SMALL, decodeSmall],
  [FRAME.RESET, decodeReset],
  [FRAME.CREDIT, decodeCredit],
]);

/** Ends of lengths and forms of varints; undefined stands for any byte. */
const INTERESTING = [0, 1, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff, undefined, undefined];

const DOCUMENTED: ReadonlySet<string> = new Set([
  'AUTH_REJECTED',
  'AUTH_SERVER',
  'VERSION_MISMATCH',
  'SERVER_BUSY',
  'PROTOCOL_VIOLATION',
]);

test('random and mutated bytes through FrameReader and decoders end in PROTOCOL_VIOLATION or in a message', async (t) => {
  const random = seededRandom(SEED);
  const reached = { decoded: 0, refusedByReader: 0, refusedByDecoder: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = round % 4 === 0 ? randomBytes(random, integerBetween(random, 0, 80)) : mutated(random);
    try {
      feed(bytes, random, reached);
    } catch (error) {
      return void t.fail(`round ${round}: ${Buffer.from(bytes).toString('hex')}`, { found: error });
    }
  }
  // Bytes that all fail at the header would show nothing about the decoders.
  for (const [outcome, count] of Object.entries(reached)) t.ok(count > ROUNDS / 20, `${outcome}: ${count}`);
});

test('random payloads as HELLO and WELCOME are refused with the errors that are documented', async (t) => {
  const random = seededRandom(SEED + 1);
  const hmac = () => proof;
  const context: HandshakeContext = { hmac, key: nonce, certificate: proof, nonce, software: 's', settings };
  const client = new ClientHandshake({ ...context, hmac: () => new Uint8Array(32).fill(3) }, '0123456789abcdef');
  const types = Object.values(FRAME);
  for (let round = 0; round < 20_000; round++) {
    const payload = (round % 2 === 0 ? randomBytes(random, integerBetween(random, 0, 120)) : mutated(random)).subarray(4);
    if (random() < 0.8 && payload.length > 0) payload[0] = 1;
    const type = random() < 0.7 ? FRAME.HELLO : types[integerBetween(random, 0, types.length - 1)]!;
    const verdict = judgeHello(context, nonce, type, payload);
    if (verdict.answer[0] !== (verdict.accepted ? FRAME.WELCOME : FRAME.REJECT))
      t.fail(`round ${round}: the answer is of type ${verdict.answer[0]}`);
    try {
      client.handleAnswer(random() < 0.7 ? FRAME.WELCOME : FRAME.REJECT, payload);
      t.fail(`round ${round}: accepted`);
    } catch (error) {
      if (!(error instanceof QtunnelError) || !DOCUMENTED.has(error.code)) t.fail(`round ${round}`, { found: error });
    }
  }
  t.pass('no other error came out');
});

/** Cuts `bytes` into frames, in pieces of random length, and decodes each. Throws what is not a PROTOCOL_VIOLATION. */
function feed(
  bytes: Uint8Array,
  random: () => number,
  reached: { decoded: number; refusedByReader: number; refusedByDecoder: number },
) {
  let insideDecoder = false;
  const reader = new FrameReader({
    onFrame(type, payload) {
      insideDecoder = true;
      DECODERS.get(type)?.(payload);
      insideDecoder = false;
      reached.decoded++;
    },
    onData(part) {
      if (part.length === 0) throw new Error('a part of DATA without bytes');
      if (random() < 0.2) reader.pause();
    },
  });
  try {
    for (let at = 0; at < bytes.length;) {
      const taken = reader.push(bytes.subarray(at, at + integerBetween(random, 1, 40)));
      if (taken < 1) throw new Error('push took nothing');
      at += taken;
    }
  } catch (error) {
    if (!(error instanceof QtunnelError) || error.code !== 'PROTOCOL_VIOLATION') throw error;
    if (insideDecoder) reached.refusedByDecoder++;
    else reached.refusedByReader++;
  }
}

/** One to three valid frames with a few bytes changed, put in, taken out or cut off; lengths in headers often stay right. */
function mutated(random: () => number): Uint8Array {
  const frames = Array.from({ length: integerBetween(random, 1, 3) }, () => VALID[integerBetween(random, 0, VALID.length - 1)]!);
  const bytes = frames.flatMap((one) => withChanges(random, one));
  if (random() < 0.2) bytes.length = integerBetween(random, 0, bytes.length);
  return Uint8Array.from(bytes);
}

function withChanges(random: () => number, valid: Uint8Array): number[] {
  const header = [...valid.subarray(0, 4)];
  const payload = [...valid.subarray(4)];
  for (let changes = integerBetween(random, 0, 3); changes > 0; changes--) {
    const at = integerBetween(random, 0, payload.length);
    const value = INTERESTING[integerBetween(random, 0, INTERESTING.length - 1)] ?? Math.floor(random() * 256);
    const kind = random();
    if (kind < 0.5 && payload.length > 0) payload[at % payload.length] = value;
    else payload.splice(at, kind < 0.75 ? 0 : 3, value);
  }
  if (random() < 0.8) header[3] = payload.length;
  if (random() < 0.05) header[integerBetween(random, 0, 3)] = Math.floor(random() * 256);
  return [...header, ...payload];
}
