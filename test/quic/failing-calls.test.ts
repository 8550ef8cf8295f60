import { quiche } from '@matrixai/quic/native/index.js';
import { type Test, test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import type { Link } from '../../src/link/link.ts';
import { type LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { OVER, quic, REQUEST, World } from './pair.ts';

/**
 * The binding's calls that may fail, and which of them are made to, one in each run of the scenario. Not the first `send`: the attempt then ends after ten
 * seconds of silence, as when nobody answers.
 */
const CALLS = {
  recv: [1, 2, 3],
  send: [2, 3],
  streamSend: [1, 2, 3, 4],
  streamRecv: [1, 2, 3, 4],
  sendAckEliciting: [1],
  close: [1],
} as const;

for (const [name, calls] of Object.entries(CALLS)) {
  test(`quiche's ${name} fails once, at each call in turn: nothing throws or hangs, and the next link works`, async (t) => {
    const world = new World();
    await world.listen();
    for (const nth of calls) {
      const failing = failOnce(t, name, nth);
      await scenario(world);
      t.ok(failing.happened, `call ${nth} was made`);
      failing.restore();
      t.equal(await scenario(world), 'echoed', `after call ${nth}`);
    }
  });
}

/** A link, a stream that is echoed, and the link's end, each of which may fail in the ways that a link's user has to expect. */
async function scenario(world: World): Promise<string> {
  let link: Link;
  try {
    link = await world.until(world.connect(), 'a link, or why there is none');
  } catch (error) {
    if (!(error instanceof QtunnelError) || error.code === 'INTERNAL') throw error;
    return error.code;
  }
  await world.drive(() => world.links.at(-1)?.link.id === link.id || link.state !== 'up', 'the server’s link');
  if (link.state !== 'up') return link.state;
  const server = world.links.at(-1)!;
  server.onStream = (stream) => {
    const there = new StreamRecorder(stream);
    const answer = async (): Promise<void> => {
      await there.end();
      await there.write(there.bytes);
      stream.end();
    };
    answer().catch(() => {});
  };
  link.handler = { onStream() {}, onStateChange() {}, onClose() {} };
  quic({ link } as LinkRecorder).connection.ping();
  const here = new StreamRecorder(link.open(REQUEST));
  here.write(BYTES).then(
    () => here.stream.end(),
    () => {},
  );
  await world.drive(() => here.ended || here.resets.length > 0, 'the echo, or a reset');
  link.close(OVER);
  await world.drive(() => link.state === 'closed', 'the end of the link');
  return here.bytes.equals(BYTES) ? 'echoed' : 'reset';
}

function failOnce(t: Test, name: string, nth: number): { readonly happened: boolean; restore(): void } {
  const prototype = (quiche.Connection as unknown as { prototype: unknown }).prototype as Record<
    string,
    (...args: unknown[]) => unknown
  >;
  const real = prototype[name]!;
  let calls = 0;
  const restore = (): void => void (prototype[name] = real);
  prototype[name] = function fail(...args) {
    if (++calls === nth) throw new Error('Injected');
    return real.apply(this, args);
  };
  t.teardown(restore);
  return {
    get happened() {
      return calls >= nth;
    },
    restore,
  };
}

const BYTES = Buffer.alloc(40_000, 'torture');
