import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Owner } from './process.ts';

/** Passes datagrams between one client and a server, as a NAT does; the server sees the relay's address, which can change. */
export class UdpRelay {
  readonly port: number;
  /** False while nothing passes. */
  passes = true;
  /** Milliseconds that a datagram takes to the server. */
  delay = 0;
  readonly #near: Socket;
  #far!: Socket;
  #client: AddressInfo | null = null;
  #isOpen = true;

  private constructor(near: Socket, server: number) {
    this.#near = near;
    this.port = near.address().port;
    near.on('message', (message, from) => {
      this.#client = { address: from.address, port: from.port, family: from.family };
      const send = (): void => {
        if (this.#isOpen) this.#far.send(message, server, '127.0.0.1');
      };
      if (!this.passes) return;
      if (this.delay === 0) send();
      else setTimeout(send, this.delay);
    });
  }

  /** On a port of its own, or this one. */
  static async open(t: Owner, server: number, port = 0): Promise<UdpRelay> {
    const relay = new UdpRelay(await bound(port), server);
    await relay.rebind();
    t.teardown(() => {
      relay.#isOpen = false;
      relay.#near.close();
      relay.#far.close();
    });
    return relay;
  }

  /** Takes another port towards the server; what comes to the old one is lost. */
  async rebind(): Promise<void> {
    const far = await bound();
    far.on('message', (message) => {
      if (this.passes && this.#client !== null) this.#near.send(message, this.#client.port, this.#client.address);
    });
    const before: Socket | undefined = this.#far;
    this.#far = far;
    before?.close();
  }
}

async function bound(port = 0): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}
