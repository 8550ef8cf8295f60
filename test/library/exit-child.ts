import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect, startClient, startServer } from '../../src/index.ts';

/**
 * `exit-child MODE STATE-DIR`: starts, uses and closes everything, says how many handlers of signals there are, and does not call
 * `process.exit`.
 */
const [mode, stateDir] = process.argv.slice(2);
const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
await once(echo, 'listening');
const { port } = echo.address() as AddressInfo;

const quic = mode === 'quic';
const server = await startServer({
  listen: '127.0.0.1:0',
  backend: { host: '127.0.0.1', port },
  quic,
  secret: 's',
  stateDir: stateDir!,
});
const options = { backend: server.address, quic, secret: 's' };
const client = await startClient({ ...options, listen: '127.0.0.1:0' });
for (const stream of [await client.connect(), await connect(options)]) {
  stream.end('hello');
  if ((await text(stream)) !== 'hello') process.exitCode = 3;
}
await connect({ ...options, secret: 'another' }).then(
  () => (process.exitCode = 4),
  () => {},
);
if (process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') + process.listenerCount('SIGHUP') > 0) process.exitCode = 5;
await client.close();
await server.close();
echo.close();
