import { randomBytes } from 'node:crypto';
import { type Connection, quiche } from '@matrixai/quic/native/index.js';
import { clientConfig, type NativeTuning, serverConfig } from '../../src/quic/config.ts';
import { newKeys } from './pair.ts';

/** Two connections in one process, whose packets are handed over at once. */
export class QuichePair {
  readonly client: Connection;
  dropped = 0;
  #server: Connection | null = null;
  readonly #serverConfig;

  constructor(tuning: NativeTuning) {
    this.#serverConfig = serverConfig(tuning, newKeys(), false);
    this.client = quiche.Connection.connect('localhost', randomBytes(16), HERE, THERE, clientConfig(tuning));
  }

  get path() {
    return this.client.pathStats()[0]!;
  }

  /** The client writes so many bytes; its first packets are lost, the others and all answers come. */
  exchange(bytes: number, lost = 0): void {
    if (bytes > 0) this.client.streamSend(2, new Uint8Array(bytes), false);
    let left = lost;
    for (const packet of packetsOf(this.client)) {
      if (left-- > 0) {
        this.dropped++;
        continue;
      }
      this.#server ??= quiche.Connection.accept(randomBytes(16), null, THERE, HERE, this.#serverConfig);
      this.#server.recv(packet, { from: HERE, to: THERE });
    }
    if (this.#server === null) return;
    const buffer = new Uint8Array(65_536);
    for (const id of this.#server.readable()) while (this.#server.streamRecv(id, buffer) !== null);
    for (const packet of packetsOf(this.#server)) this.client.recv(packet, { from: THERE, to: HERE });
    if (this.client.timeout() === 0) this.client.onTimeout();
  }
}

function* packetsOf(connection: Connection): Generator<Uint8Array> {
  for (;;) {
    const buffer = new Uint8Array(16_383);
    const sent = connection.send(buffer);
    if (sent === null) return;
    yield buffer.subarray(0, sent[0]);
  }
}

const HERE = { host: '127.0.0.1', port: 1 };
const THERE = { host: '127.0.0.1', port: 2 };
