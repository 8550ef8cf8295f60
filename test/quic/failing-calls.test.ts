import { quiche } from '@matrixai/quic/native/index.js';
import { type Test, test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import type { Link } from '../../src/link/link.ts';
import { type LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { OVER, quic, quicOptions, REQUEST, World } from './pair.ts';

/**
 * The binding's calls that may fail, and which of them are made to, one in each run of the scenario. Not the first `send`: the attempt then ends after ten
 * seconds of silence, as when nobody answers.
 */
const CALLS = {
  recv: [1, 2, 3],
  send: [2, 3],
  streamSend: [1, 2, 3, 4, 5, 6, 7, 8],
  streamRecv: [1, 2, 3, 4, 5, 6, 7, 8],
  sendAckEliciting: [1],
  close: [1],
  retry: [1],
  accept: [1],
  connect: [1],
  streamPriority: [1, 2],
  peerCertChain: [1, 2],
  isEstablished: [1, 2, 3],
  isInEarlyData: [1],
  isDraining: [1, 4],
  isClosed: [1, 6],
  timeout: [1, 8],
  pathStats: [1, 4],
  pathEventNext: [1, 4],
  isReadable: [1, 3],
  streamReadable: [1, 4],
} as const;

for (const [name, calls] of Object.entries(CALLS)) {
  test(`quiche's ${name} fails once, at each call in turn: nothing throws or hangs, and the next link works`, async (t) => {
    const world = new World();
    await world.listen(quicOptions({ strangers: { ...quicOptions().strangers, retryAbove: 0 } }));
    for (const nth of calls) {
      const failing = failOnce(t, name, nth);
      await scenario(world);
      t.ok(failing.happened, `call ${nth} was made`);
      failing.restore();
      t.equal(await scenario(world), 'echoed', `after call ${nth}`);
    }
  });
}

test('the binding’s errors have the code by which they are known', (t) => {
  const config = new quiche.Config();
  t.throws(() => config.setCcAlgorithmName('none'), { code: 'GenericFailure' });
  t.end();
});

/** A link, a stream that is echoed, and the link's end, each of which may fail in the ways that a link's user has to expect. */
async function scenario(world: World): Promise<string> {
  let link: Link;
  try {
    link = await world.until(world.connect(), 'a link, or why there is none');
  } catch (error) {
    if (!(error instanceof QtunnelError) || (error.code === 'INTERNAL' && !isInjected(error.cause))) throw error;
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
  const owner = ownerOf(name);
  const real = owner[name]!;
  let calls = 0;
  const restore = (): void => void (owner[name] = real);
  const value = function fail(this: unknown, ...args: unknown[]): unknown {
    if (++calls === nth) throw Object.assign(new Error('Injected'), { code: 'GenericFailure' });
    return real.apply(this, args);
  };
  owner[name] = value;
  t.teardown(restore);
  return {
    get happened() {
      return calls >= nth;
    },
    restore,
  };
}

/** A factory of the binding's is not to be assigned to, so something that has all of them takes the place of its class. */
function ownerOf(name: string): Owner {
  if (Object.hasOwn(quiche, name)) return quiche as unknown as Owner;
  const { prototype } = Connection;
  if (Object.hasOwn(prototype, name)) return prototype;
  const factories = { connect: Connection['connect']!.bind(Connection), accept: Connection['accept']!.bind(Connection) };
  return ((quiche as unknown as { Connection: unknown }).Connection = { ...factories, prototype } as unknown as Owner);
}

function isInjected(error: unknown): boolean {
  return (error as Error | undefined)?.message === 'Injected';
}

const { Connection } = quiche as unknown as { Connection: Owner & { prototype: Owner } };
type Owner = Record<string, (...args: unknown[]) => unknown>;

const BYTES = Buffer.alloc(40_000, 'torture');
