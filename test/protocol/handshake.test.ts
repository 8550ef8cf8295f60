import { createHmac } from 'node:crypto';
import { test } from 'tap';
import { FRAME, FRAME_HEADER } from '../../src/protocol/frames.ts';
import {
  ClientHandshake,
  judgeHello,
  PROTOCOL_VERSION,
  refuse,
  type HandshakeContext,
  type HelloVerdict,
  type Hmac,
} from '../../src/protocol/handshake.ts';
import { decodeHello, decodeReject, encodeReject, encodeWelcome } from '../../src/protocol/messages.ts';

const KEY = filled(32, 1);
const OTHER_KEY = filled(32, 2);
const CERTIFICATE = filled(32, 3);
const OTHER_CERTIFICATE = filled(32, 4);
const LINK_ID = '0123456789abcdef';
const TOKEN = filled(16, 5);
const settings = {
  initialCredit: 70_000,
  maxStreams: 100,
  idleTimeout: 5_000,
  shards: 16,
  parity: 1,
  serverOpens: 1,
  datagrams: 9_000,
  reuse: 1,
  lane: 1,
  endpoints: 0,
};
const hmac: Hmac = (key, ...parts) => {
  const sum = createHmac('sha256', key);
  for (const part of parts) sum.update(part);
  return sum.digest();
};

test('with the same secret each side learns of the other and the client accepts', async (t) => {
  const client = clientWith();
  const verdict = judge(client.hello);
  if (!verdict.accepted) return void t.fail('refused', verdict.error);
  t.equal(verdict.hello.linkId, LINK_ID);
  t.equal(verdict.hello.software, 'client');
  t.same(verdict.hello.settings, settings);
  const welcome = answerTo(client, verdict);
  t.equal(welcome.software, 'server');
  t.same(welcome.resetToken, TOKEN);
  t.same(welcome.settings, settings);
});

test('without a secret both proofs are empty and the client accepts', async (t) => {
  const client = clientWith({ key: null });
  t.equal(decodeHello(payloadOf(client.hello)).proof.length, 0);
  const verdict = judge(client.hello, { key: null });
  t.ok(verdict.accepted);
  t.equal(answerTo(client, verdict).proof.length, 0);
});

test('the proofs are those of docs/PROTOCOL.md', async (t) => {
  const client = clientWith();
  const hello = payloadOf(client.hello);
  const emptied = Buffer.concat([hello.subarray(0, 25), Uint8Array.of(0), hello.subarray(25 + 33)]);
  t.same(hello.subarray(26, 26 + 32), hmac(KEY, Buffer.from('qtunnel/1 client\0'), CERTIFICATE, emptied));
  const welcome = payloadOf(judge(client.hello).answer);
  const emptiedWelcome = Buffer.concat([welcome.subarray(0, 17), Uint8Array.of(0), welcome.subarray(17 + 33)]);
  const expected = hmac(KEY, Buffer.from('qtunnel/1 server\0'), CERTIFICATE, hello, emptiedWelcome);
  t.same(welcome.subarray(18, 18 + 32), expected);
});

test('a client with another secret, or one side without, is refused and told so', async (t) => {
  const cases: [client: Uint8Array | null, server: Uint8Array | null, said: RegExp][] = [
    [OTHER_KEY, KEY, /client’s secret is not the server’s/],
    [null, KEY, /client gave none/],
    [KEY, null, /this server has none/],
  ];
  for (const [clientKey, serverKey, said] of cases) {
    const client = clientWith({ key: clientKey });
    const verdict = judge(client.hello, { key: serverKey });
    t.notOk(verdict.accepted);
    t.match(!verdict.accepted && verdict.error, { code: 'AUTH_REJECTED', message: said });
    t.throws(() => answerTo(client, verdict), { code: 'AUTH_REJECTED', message: said });
  }
});

test('a server that does not know the secret is not believed', async (t) => {
  for (const [key, said] of [
    [OTHER_KEY, /pretending/],
    [null, /did not prove/],
  ] as const) {
    const client = clientWith();
    t.throws(() => answerTo(client, { answer: forgedWelcome(client, key) }), { code: 'AUTH_SERVER', message: said });
  }
  const trusting = clientWith({ key: null });
  t.throws(() => answerTo(trusting, { answer: forgedWelcome(trusting, OTHER_KEY) }), { code: 'AUTH_SERVER' });
});

test('a man in the middle with a certificate of his own fails on both sides', async (t) => {
  const client = clientWith({ certificate: OTHER_CERTIFICATE });
  const passedOn = judge(client.hello, { certificate: CERTIFICATE });
  t.match(!passedOn.accepted && passedOn.error, { code: 'AUTH_REJECTED' }, 'the server does not take the HELLO passed on');
  // A WELCOME that the real server made for this very HELLO, as if it had seen his certificate's client.
  const realServer = judge(clientWith().hello);
  t.throws(() => answerTo(client, realServer), { code: 'AUTH_SERVER' });
});

test('any byte of HELLO changed in any bit is refused', async (t) => {
  const client = clientWith();
  const hello = payloadOf(client.hello);
  for (let at = 0; at < hello.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const verdict = judgeHello(serverContext(), TOKEN, FRAME.HELLO, flipped(hello, at, bit));
      if (verdict.accepted) return void t.fail(`accepted with bit ${bit} of byte ${at} changed`);
    }
  }
});

test('any byte of WELCOME changed in any bit is refused', async (t) => {
  const client = clientWith();
  const welcome = payloadOf(judge(client.hello).answer);
  for (let at = 0; at < welcome.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      try {
        client.handleAnswer(FRAME.WELCOME, flipped(welcome, at, bit));
      } catch (error) {
        const code = String((error as { code: unknown }).code);
        if (!['AUTH_SERVER', 'PROTOCOL_VIOLATION', 'VERSION_MISMATCH'].includes(code)) throw error;
        continue;
      }
      return void t.fail(`accepted with bit ${bit} of byte ${at} changed`);
    }
  }
});

test('bytes taken from or put into HELLO and WELCOME anywhere are refused', async (t) => {
  const client = clientWith();
  const hello = payloadOf(client.hello);
  const welcome = payloadOf(judge(client.hello).answer);
  // 0 and 64 begin other forms of a length, 32 repeats the proof's.
  for (const value of [0, 1, 32, 64, 128, 255]) {
    for (let at = 0; at <= hello.length; at++) {
      if (judgeHello(serverContext(), TOKEN, FRAME.HELLO, inserted(hello, at, [value])).accepted)
        t.fail(`HELLO, ${value} at ${at}`);
    }
    for (let at = 0; at <= welcome.length; at++) {
      t.throws(() => client.handleAnswer(FRAME.WELCOME, inserted(welcome, at, [value])), { name: 'QtunnelError' });
    }
  }
  for (let length = 0; length < hello.length; length++) {
    if (judgeHello(serverContext(), TOKEN, FRAME.HELLO, hello.slice(0, length)).accepted) t.fail(`HELLO of ${length} bytes`);
  }
  for (let length = 0; length < welcome.length; length++) {
    t.throws(() => client.handleAnswer(FRAME.WELCOME, welcome.slice(0, length)), { name: 'QtunnelError' });
  }
});

test('another form of the proof’s length does not move bytes out of the proof', async (t) => {
  const hello = payloadOf(clientWith().hello);
  const proof = hello.subarray(26, 58);
  // Read with a length of two bytes, the 31 bytes after the proof would be fields that no proof covers.
  const smuggled = [2, 0x68, 0x69, ...Array.from({ length: 28 }, (_, i) => (i % 2 === 0 ? 0x3f : 0))];
  const forged = Uint8Array.of(...hello.subarray(0, 25), 0x40, 32, ...proof, ...smuggled, ...hello.subarray(58));
  const verdict = judgeHello(serverContext(), TOKEN, FRAME.HELLO, forged);
  t.notOk(verdict.accepted);
});

test('settings added by a later version are covered by the proof', async (t) => {
  const hello = payloadOf(clientWith().hello);
  const added = inserted(hello, hello.length, [0x3e, 1]);
  t.match(judgeHello(serverContext(), TOKEN, FRAME.HELLO, added), { accepted: false, error: { code: 'AUTH_REJECTED' } });
  const emptied = Buffer.concat([added.subarray(0, 25), Uint8Array.of(0), added.subarray(58)]);
  added.set(hmac(KEY, Buffer.from('qtunnel/1 client\0'), CERTIFICATE, emptied), 26);
  t.ok(judgeHello(serverContext(), TOKEN, FRAME.HELLO, added).accepted, 'with a proof of its own it is taken');
});

test('the client’s own proof sent back is no server proof', async (t) => {
  const client = clientWith();
  const { proof, nonce } = decodeHello(payloadOf(client.hello));
  const reflected = { version: PROTOCOL_VERSION, nonce, proof, software: 'client', resetToken: TOKEN, settings };
  t.throws(() => answerTo(client, { answer: encodeWelcome(reflected) }), { code: 'AUTH_SERVER' });
  t.throws(() => client.handleAnswer(FRAME.HELLO, payloadOf(client.hello)), { code: 'PROTOCOL_VIOLATION' });
});

test('a WELCOME made for another HELLO of the same client is refused', async (t) => {
  const first = clientWith({ nonce: filled(16, 10) });
  const second = clientWith({ nonce: filled(16, 11) });
  t.throws(() => answerTo(second, judge(first.hello)), { code: 'AUTH_SERVER' });
});

test('another version is told from garbage, on both sides, even if nothing else of it parses', async (t) => {
  const client = clientWith();
  for (const rest of [[], [...payloadOf(client.hello).subarray(1)], [0xff, 0xff]]) {
    const verdict = judgeHello(serverContext(), TOKEN, FRAME.HELLO, Uint8Array.of(2, ...rest));
    t.match(!verdict.accepted && verdict.error, { code: 'VERSION_MISMATCH', message: /client speaks protocol version 2/ });
    t.throws(() => answerTo(client, verdict), { code: 'VERSION_MISMATCH' }, 'the client hears why');
    const welcome = Uint8Array.of(2, ...rest);
    t.throws(() => client.handleAnswer(FRAME.WELCOME, welcome), { code: 'VERSION_MISMATCH', message: /server speaks .* 2/ });
  }
});

test('a first frame that is not HELLO, or a HELLO that does not parse, is answered with REJECT', async (t) => {
  for (const type of Object.values(FRAME)) {
    if (type === FRAME.HELLO) continue;
    t.match(rejected(judgeHello(serverContext(), TOKEN, type, payloadOf(clientWith().hello))), ['PROTOCOL', 'PROTOCOL_VIOLATION']);
  }
  for (const garbage of [[], [1], [1, 2, 3], Array.from({ length: 4096 }, () => 1)]) {
    const verdict = judgeHello(serverContext(), TOKEN, FRAME.HELLO, Uint8Array.from(garbage));
    t.match(rejected(verdict), ['PROTOCOL', 'PROTOCOL_VIOLATION']);
  }
});

test('the client refuses an answer that is none', async (t) => {
  const client = clientWith();
  for (const type of Object.values(FRAME)) {
    if (type === FRAME.WELCOME || type === FRAME.REJECT) continue;
    t.throws(() => client.handleAnswer(type, filled(100, 1)), { code: 'PROTOCOL_VIOLATION' });
  }
  t.throws(() => client.handleAnswer(FRAME.WELCOME, new Uint8Array(0)), { code: 'PROTOCOL_VIOLATION' });
  t.throws(() => client.handleAnswer(FRAME.REJECT, new Uint8Array(0)), { code: 'PROTOCOL_VIOLATION' });
});

test('each REJECT is an error of its own for the client, with the server’s words', async (t) => {
  const codes = {
    AUTH: 'AUTH_REJECTED',
    VERSION: 'VERSION_MISMATCH',
    BUSY: 'SERVER_BUSY',
    PROTOCOL: 'PROTOCOL_VIOLATION',
  } as const;
  for (const reason of Object.keys(codes) as (keyof typeof codes)[]) {
    const answer = payloadOf(encodeReject(reason, 'because of this'));
    t.throws(() => clientWith().handleAnswer(FRAME.REJECT, answer), { code: codes[reason], message: /because of this/ });
  }
  const busy = refuse('BUSY', 'SERVER_BUSY', 'Too many clients.');
  t.same(rejected(busy), ['BUSY', 'SERVER_BUSY']);
  t.equal(busy.error.message, 'Too many clients.');
});

test('no message of a failed handshake holds a key', async (t) => {
  const key = Buffer.from('a secret of thirty-two characters');
  const client = clientWith({ key });
  const verdict = judge(client.hello, { key: OTHER_KEY });
  t.notOk(verdict.accepted);
  for (const encoding of ['latin1', 'hex', 'base64'] as const) {
    t.notOk(Buffer.from(verdict.answer).toString(encoding).includes(key.toString(encoding)));
    t.notOk(!verdict.accepted && verdict.error.message.includes(key.toString(encoding)));
  }
});

test('a client is known by its name and key; an unknown name gets the same answer as a wrong key', async (t) => {
  const keysOf = (client: string) => (client === 'laptop' ? [KEY, filled(32, 98)] : [filled(32, 97), filled(32, 98)]);
  const verdict = judge(clientWith({ client: 'laptop' }).hello, { key: null, keysOf });
  t.match(verdict, { accepted: true, hello: { client: 'laptop' } });
  const refused = [
    judge(clientWith({ client: 'laptop', key: OTHER_KEY }).hello, { keysOf }),
    judge(clientWith({ client: 'phone' }).hello, { keysOf }),
    judge(clientWith().hello, { keysOf }),
  ];
  for (const { accepted } of refused) t.notOk(accepted);
  t.equal(new Set(refused.map(({ answer }) => Buffer.from(answer).toString('hex'))).size, 1);
  const hello = payloadOf(clientWith({ client: 'laptop' }).hello);
  const renamed = Uint8Array.from(hello);
  renamed.set(Buffer.from('phone2'), renamed.length - 6);
  t.notOk(judgeHello(serverContext({ keysOf: () => [KEY] }), TOKEN, FRAME.HELLO, renamed).accepted, 'the proof covers the name');
});

test('a server takes each of its keys, and proves itself with the one that the client has', async (t) => {
  const keysOf = () => [KEY, OTHER_KEY];
  for (const key of [KEY, OTHER_KEY]) {
    const client = clientWith({ key });
    const verdict = judge(client.hello, { key: KEY, keysOf });
    t.ok(verdict.accepted);
    t.match(answerTo(client, verdict), { software: 'server' });
  }
  t.match(judge(clientWith({ key: filled(32, 99) }).hello, { keysOf }), { accepted: false, error: { code: 'AUTH_REJECTED' } });
  t.match(judge(clientWith({ key: null }).hello, { keysOf }), { accepted: false, error: { code: 'AUTH_REJECTED' } });
});

function clientWith(changes: Partial<HandshakeContext> = {}): ClientHandshake {
  return new ClientHandshake(
    { hmac, key: KEY, certificate: CERTIFICATE, nonce: filled(16, 10), software: 'client', settings, ...changes },
    LINK_ID,
  );
}

function serverContext(changes: Partial<HandshakeContext> = {}): HandshakeContext {
  return { hmac, key: KEY, certificate: CERTIFICATE, nonce: filled(16, 20), software: 'server', settings, ...changes };
}

function judge(hello: Uint8Array, changes: Partial<HandshakeContext> = {}): HelloVerdict {
  return judgeHello(serverContext(changes), TOKEN, hello[0]!, payloadOf(hello));
}

function answerTo(client: ClientHandshake, { answer }: { answer: Uint8Array }) {
  return client.handleAnswer(answer[0]!, payloadOf(answer));
}

/** What somebody answers who takes every HELLO, with a proof under his own `key`. */
function forgedWelcome(client: ClientHandshake, key: Uint8Array | null): Uint8Array {
  const unproven = {
    version: PROTOCOL_VERSION,
    nonce: filled(16, 20),
    proof: filled(0, 0),
    software: 'server',
    resetToken: TOKEN,
    settings,
  };
  if (key === null) return encodeWelcome(unproven);
  const transcript = [CERTIFICATE, payloadOf(client.hello), payloadOf(encodeWelcome(unproven))];
  return encodeWelcome({ ...unproven, proof: hmac(key, Buffer.from('qtunnel/1 server\0'), ...transcript) });
}

function rejected(verdict: HelloVerdict): [reason: string, code: string] {
  if (verdict.accepted) throw new Error('it was accepted');
  if (verdict.answer[0] !== FRAME.REJECT) throw new Error('the answer is no REJECT');
  return [decodeReject(payloadOf(verdict.answer)).reason, verdict.error.code];
}

function payloadOf(wire: Uint8Array): Uint8Array {
  return wire.subarray(FRAME_HEADER);
}

function flipped(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[at]! ^= 1 << bit;
  return changed;
}

function inserted(bytes: Uint8Array, at: number, more: number[]): Uint8Array {
  return Uint8Array.of(...bytes.subarray(0, at), ...more, ...bytes.subarray(at));
}

function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}
