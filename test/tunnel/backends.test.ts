import { test, type Test } from 'tap';
import { dial, ending, listen, receiveAll } from '../support/tcp.ts';
import { client, MODES, reload, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });

for (const { name, ...mode } of MODES) {
  void test(`${name}: a client gets the backend that it names, and the one without a name when it names none`, async (t) => {
    const backends = { one: here(await saying(t, 'one')), two: here(await saying(t, 'two')) };
    const far = await server(t, { ...mode, backend: here(await saying(t, 'plain')), backends });
    const near = await client(t, far.tunnel, mode);
    t.equal(await whatIsSaid(t, near.port), 'plain');
    for (const target of ['one', 'two']) {
      const link = near.tunnel.uplink.current();
      await reload(near.tunnel, { target });
      t.equal(await whatIsSaid(t, near.port), target);
      t.equal(near.tunnel.uplink.current(), link, 'the same link');
    }
    await reload(far.tunnel, { backends: { two: here(await saying(t, 'moved')) } });
    t.equal(await whatIsSaid(t, near.port), 'moved', 'SIGHUP on the server counts for new connections');
  });

  void test(`${name}: a name that the server does not offer is reset, with a reason on both sides and no names`, async (t) => {
    const far = await server(t, { ...mode, backend: null, backends: { hidden: here(await saying(t, 'x')) } });
    for (const target of ['toString', 'hidde', null]) {
      const near = await client(t, far.tunnel, { ...mode, target });
      t.equal(await ending(await dial(t, near.port)), 'reset');
      const told = near.lines.filter(({ event }) => event === 'stream_reset').at(-1);
      t.match(told, { reason: 'NO_BACKEND', msg: target === null ? /named backends only/ : new RegExp(`"${target}".*-target`) });
      t.notMatch(told?.msg, 'hidden');
      t.match(far.lines.filter(({ event }) => event === 'dial_failed').at(-1), { reason: 'NO_BACKEND' });
    }
    t.equal(far.metrics.dialFailures.get('BACKEND_UNKNOWN'), 3);
    t.equal(far.tunnel.connections, 0);
  });
}

/** The port of a service that says this and hangs up. */
function saying(t: Test, text: string): Promise<number> {
  return listen(t, (socket) => void socket.end(text));
}

async function whatIsSaid(t: Test, port: number): Promise<string> {
  return (await receiveAll(await dial(t, port))).toString();
}
