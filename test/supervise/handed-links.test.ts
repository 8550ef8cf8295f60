import { test } from 'tap';
import { HandedLinks } from '../../src/supervise/handed-links.ts';
import type { FromChild, LinkMessage } from '../../src/supervise/messages.ts';

const TOKEN = Buffer.from('00ff10', 'hex');

test('a process that shares a port knows the links of the other, those that were there before and those that come', (t) => {
  const { one, other } = pair();
  const [here, there] = [one.directory(), other.directory()];
  here.announce('before', TOKEN);
  t.equal(there.find('before'), undefined, 'nobody has asked');
  one.startTelling();
  here.announce('after', TOKEN);
  t.equal(Buffer.compare(there.find('before')!, TOKEN), 0);
  t.equal(Buffer.compare(there.find('after')!, TOKEN), 0);
  t.equal(here.find('before'), undefined, 'its own it knows by itself');
  t.end();
});

test('a link that is gone is gone for both, with what became of it; with its process all are', (t) => {
  const { one, other } = pair();
  const [here, there] = [one.directory(), other.directory()];
  const gone: unknown[] = [];
  there.onWithdrawn = (...about) => gone.push(about);
  one.startTelling();
  for (const id of ['a', 'b', 'c']) here.announce(id, TOKEN);
  here.withdraw('a', false);
  here.withdraw('b', true);
  t.same(gone, [
    ['a', false],
    ['b', true],
  ]);
  t.equal(there.find('a'), undefined);
  other.forgetOthers();
  t.same(gone.at(-1), ['c', true], 'cut off');
  t.equal(there.find('c'), undefined);
  there.close();
  here.announce('d', TOKEN);
  here.withdraw('d', true);
  t.equal(gone.length, 3, 'a listener that is closed hears nothing');
  t.end();
});

test('a link that has ended before anybody asks is not told of', (t) => {
  const { one, other } = pair();
  const [here, there] = [one.directory(), other.directory()];
  here.announce('ended', TOKEN);
  here.announce('there', TOKEN);
  here.withdraw('ended', false);
  one.startTelling();
  t.equal(there.find('ended'), undefined);
  t.ok(there.find('there'));
  t.end();
});

function pair() {
  const one: HandedLinks = new HandedLinks((message) => passOn(other, message));
  const other: HandedLinks = new HandedLinks((message) => passOn(one, message));
  return { one, other };
}

function passOn(receiver: HandedLinks, message: FromChild): void {
  receiver.handle(message as LinkMessage);
}
