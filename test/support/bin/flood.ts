import { createSocket, type Socket } from 'node:dgram';
import { makers, type Stranger } from '../strangers.ts';

const SOURCES = 100;
const LAST_ANSWERS_MS = 500;

/** `flood KIND ADDRESS PORT COUNT RATE`: sends so many datagrams of a kind, so many a second, from a hundred addresses of 127.0.0.0/8, and prints how many were answered, and
 * the CPU that it took: on loopback that of the kernel's receiving is the sender's. */
const [kind, address, port, count, rate] = process.argv.slice(2);
const make = makers()[kind as Stranger];
const sockets = await Promise.all(Array.from({ length: SOURCES }, (_, n) => open(`127.0.${1 + (n >>> 8)}.${1 + (n & 0xff)}`)));
let answers = 0;
for (const socket of sockets) socket.on('message', () => answers++);

const started = performance.now();
const cpu = process.cpuUsage();
for (let sent = 0; sent < Number(count);) {
  const due = Math.min(Number(count), ((performance.now() - started) / 1000) * Number(rate));
  for (; sent < due; sent++) {
    const socket = sockets[sent % sockets.length]!;
    const datagram = make(sent);
    await new Promise<void>((resolve) => socket.send(datagram, Number(port), address, () => resolve()));
  }
  await new Promise((resolve) => setTimeout(resolve, 2));
}
const { user, system } = process.cpuUsage(cpu);
await new Promise((resolve) => setTimeout(resolve, LAST_ANSWERS_MS));
console.log(JSON.stringify({ seconds: (performance.now() - started) / 1000, answers, cpu: (user + system) / 1e6 }));
for (const socket of sockets) socket.close();

function open(from: string): Promise<Socket> {
  const socket = createSocket('udp4');
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, from, () => resolve(socket));
  });
}
