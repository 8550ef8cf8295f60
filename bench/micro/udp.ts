import { batchUdp } from '../../src/udp/batch.ts';
import { openDgram } from '../../src/udp/dgram.ts';
import type { OpenUdp, UdpSocket } from '../../src/udp/socket.ts';
import type { Case } from './case.ts';

/** Runs of datagrams over loopback, sent and received, by each implementation that there is here. */
export async function udpCases(): Promise<Case[]> {
  const batch = batchUdp();
  const backends: [string, OpenUdp][] = [['dgram', openDgram], ...(batch === null ? [] : [['batch', batch] as [string, OpenUdp]])];
  const cases = backends.flatMap(([name, open]) =>
    RUNS.map((count) => runOf(`udp, ${name}: ${count} × ${SIZE} bytes`, open, count)),
  );
  return Promise.all(cases);
}

async function runOf(name: string, open: OpenUdp, count: number): Promise<Case> {
  const receiver = await open({ bind: LOOPBACK });
  const sender = await open({ bind: LOOPBACK, connect: receiver.address });
  const run = () => {
    const arrived = arrivals(receiver, count);
    sender.sendBuffer.fill(1, 0, count * SIZE);
    sender.send(count * SIZE, SIZE, receiver.address);
    return arrived;
  };
  const close = () => {
    sender.close();
    receiver.close();
  };
  return { name, bytes: count * SIZE, operations: count, run, close };
}

function arrivals(receiver: UdpSocket, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('Datagrams were lost.')), PATIENCE_MS);
    let left = count;
    receiver.handler = {
      onDatagram: () => {
        if (--left > 0) return;
        clearTimeout(late);
        resolve();
      },
      onError: reject,
    };
  });
}

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const SIZE = 1350;
const RUNS = [1, 10, 40];
const PATIENCE_MS = 2_000;
