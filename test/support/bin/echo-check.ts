import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** `echo-check ADDRESS PORT BYTES`: sends random bytes and FIN, and exits with 0 when the same bytes came back. */
const [address, port, bytes] = process.argv.slice(2);
const message = randomBytes(Number(bytes));
const socket = connect({ host: address!, port: Number(port), allowHalfOpen: true });
socket.end(message);
try {
  const answer = await buffer(socket);
  console.log(`${answer.length} bytes came back`);
  process.exitCode = answer.equals(message) ? 0 : 1;
} catch (error) {
  console.log((error as Error).message);
  process.exitCode = 1;
}
