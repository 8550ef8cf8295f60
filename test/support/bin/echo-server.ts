import { createServer } from 'node:net';

/** `echo-server ADDRESS PORT`: sends back what it gets until it is killed; for network namespaces, where a test's own sockets are not. */
const [address, port] = process.argv.slice(2);
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {});
  socket.pipe(socket);
});
server.listen({ host: address!, port: Number(port) }, () => console.log('listening'));
