import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { TicketFiles } from '../../src/identity/ticket-files.ts';
import { temporaryFolder } from '../support/files.ts';

const ticket = { session: Buffer.from('session'), chain: [Buffer.from('own'), Buffer.from('issuer')], wantsEndpoints: true };
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

test('a ticket is for its owner’s eyes, and is taken once', async (t) => {
  const stateDir = join(temporaryFolder(t), 'state');
  const files = new TicketFiles(stateDir, ['host:1', '']);
  t.equal(await files.take(0), null);
  await files.keep(0, ticket);
  const folder = join(stateDir, 'tickets');
  const [file, ...others] = readdirSync(folder);
  t.same(others, []);
  t.equal(statSync(join(folder, file!)).mode & 0o777, 0o600);
  t.equal(statSync(folder).mode & 0o777, 0o700);
  for (const other of [new TicketFiles(stateDir, ['host:2', '']), new TicketFiles(stateDir, ['host:1', 'laptop'])])
    t.equal(await other.take(0), null, 'it is for one server and one client');
  t.equal(await files.take(1), null, 'and one worker');
  const taken = await Promise.all([files.take(0), files.take(0), new TicketFiles(stateDir, ['host:1', '']).take(0)]);
  const [got, ...more] = taken.filter((one) => one !== null);
  t.same(more, []);
  t.equal(hex(got!.session), hex(ticket.session));
  t.same(got!.chain.map(hex), ticket.chain.map(hex));
  t.equal(got!.wantsEndpoints, true);
  t.same(readdirSync(folder), []);
});

test('a file that is none, and a folder that cannot be written, mean no ticket', async (t) => {
  const stateDir = temporaryFolder(t);
  const files = new TicketFiles(stateDir, ['host:1']);
  await files.keep(0, ticket);
  const [name] = readdirSync(join(stateDir, 'tickets'));
  for (const text of ['', 'null', '{"session":"AA==","chain":[],"wantsEndpoints":false}']) {
    writeFileSync(join(stateDir, 'tickets', name!), text);
    t.equal(await files.take(0), null);
  }
  const problems: string[] = [];
  const nowhere = new TicketFiles('/proc/nope', ['host:1'], (problem) => problems.push(problem));
  for (let n = 0; n < 2; n++) await nowhere.keep(0, ticket);
  t.equal(await nowhere.take(0), null);
  t.match(problems, [/\/proc\/nope.* cannot be written \(ENOENT\).*-state-dir/]);
  t.equal(problems.length, 1, 'said once');
});
