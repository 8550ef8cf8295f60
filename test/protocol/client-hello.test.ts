import { test } from 'tap';
import { readResumption, TICKET_NAME } from '../../src/protocol/client-hello.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

const TICKET = Uint8Array.from({ length: 200 }, (_, i) => i);

test('the first ticket of a ClientHello is found behind other extensions', async (t) => {
  const resumption = readResumption(hello([43, 5], preSharedKey(TICKET, new Uint8Array(40))));
  t.same(resumption, { kind: 'ticket', name: TICKET.subarray(0, TICKET_NAME) });
});

test('one that resumes nothing says so', async (t) => {
  t.equal(readResumption(hello([43, 5], [51, 36])).kind, 'none');
  t.equal(readResumption(hello()).kind, 'none');
});

test('what is missing at the end matters only as far as it is needed', async (t) => {
  const whole = hello([43, 5], preSharedKey(TICKET));
  // Behind the ticket there is only its age.
  const needed = whole.length - (TICKET.length - TICKET_NAME) - 4;
  for (let length = 0; length <= whole.length; length++)
    if (readResumption(whole.subarray(0, length)).kind !== (length < needed ? 'unknown' : 'ticket')) t.fail(`${length} bytes`);
  t.equal(readResumption(Uint8Array.of(2, ...whole.subarray(1))).kind, 'unknown', 'a ServerHello');
});

test('whatever comes is read or not', async (t) => {
  const random = seededRandom(1);
  const whole = hello([43, 5], preSharedKey(TICKET));
  const seen = new Set<string>();
  for (let n = 0; n < 20_000; n++) {
    const changed = Uint8Array.from(whole);
    for (let changes = integerBetween(random, 1, 4); changes > 0; changes--)
      changed[integerBetween(random, 0, 80)] = integerBetween(random, 0, 255);
    seen.add(readResumption(n % 2 === 0 ? changed : randomBytes(random, 100)).kind);
  }
  t.same([...seen].toSorted(), ['none', 'ticket', 'unknown']);
});

/** With extensions as their type and length, or as whole bytes. */
function hello(...extensions: (Uint8Array | readonly [type: number, length: number])[]): Uint8Array {
  const bodies = extensions.map((each) => (each instanceof Uint8Array ? each : extension(each[0], new Uint8Array(each[1]))));
  const all = bodies.flatMap((body) => [...body]);
  const body = [3, 3, ...new Uint8Array(32), 0, ...u16(2), 0x13, 1, 1, 0, ...u16(all.length), ...all];
  return Uint8Array.of(1, 0, ...u16(body.length), ...body);
}

function preSharedKey(...tickets: Uint8Array[]): Uint8Array {
  const identities = tickets.flatMap((ticket) => [...u16(ticket.length), ...ticket, 0, 0, 0, 0]);
  return extension(41, Uint8Array.of(...u16(identities.length), ...identities));
}

function extension(type: number, body: Uint8Array): Uint8Array {
  return Uint8Array.of(...u16(type), ...u16(body.length), ...body);
}

function u16(value: number): number[] {
  return [value >>> 8, value & 0xff];
}
