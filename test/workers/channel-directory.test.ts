import { test } from 'tap';
import { ChannelDirectory } from '../../src/workers/channel-directory.ts';
import { eventually } from '../support/deadline.ts';

const TOKEN = Uint8Array.of(1, 2, 3);

test('a link is found at once when it was announced, by others of the same name alone', async (t) => {
  const [one, other, foreign] = [new ChannelDirectory('a'), new ChannelDirectory('a'), new ChannelDirectory('b')];
  t.teardown(() => [one, other, foreign].forEach((directory) => directory.close()));
  t.equal(other.find('link'), undefined);
  one.announce('link', TOKEN);
  t.same(other.find('link'), TOKEN);
  t.equal(one.find('link'), undefined, 'its own it knows itself');
  t.equal(foreign.find('link'), undefined);
});

test('a link that is gone is not found, and all are told whether it was cut off', async (t) => {
  const [one, other] = [new ChannelDirectory('c'), new ChannelDirectory('c')];
  t.teardown(() => [one, other].forEach((directory) => directory.close()));
  const told: [string, boolean][] = [];
  other.onWithdrawn = (id, cut) => void told.push([id, cut]);
  one.announce('x', TOKEN);
  one.announce('y', TOKEN);
  one.withdraw('x', true);
  t.equal(other.find('x'), undefined);
  t.same(other.find('y'), TOKEN);
  one.withdraw('y', false);
  await eventually('the news of it, unasked', () => told.length === 2);
  t.same(told, [
    ['x', true],
    ['y', false],
  ]);
});
