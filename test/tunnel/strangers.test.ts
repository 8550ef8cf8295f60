import { connect } from 'node:net';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { client, server } from './tunnels.ts';

void test('who has failed too often over TCP waits over UDP as well', async (t) => {
  const far = await server(t, { attemptsPerSource: 2 });
  const refusals = (transport: 'quic' | 'tls') => far.metrics.refusals.get(`${transport} penalty`) ?? 0;
  for (let n = 0; n < 8 && refusals('tls') === 0; n++) {
    // Refused, it may be reset before it hears that it is connected.
    const socket = connect(far.tunnel.address).on('error', () => {});
    socket.end('no TLS');
    await new Promise((resolve) => socket.resume().once('close', resolve));
  }
  t.equal(refusals('tls'), 1);
  t.equal(refusals('quic'), 0);
  await client(t, far.tunnel, { fallback: false });
  await eventually('the client’s first packet is refused', () => refusals('quic') > 0);
});
