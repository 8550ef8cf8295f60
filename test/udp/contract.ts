import type { Test } from 'tap';
import type { QtunnelError } from '../../src/errors.ts';
import type { OpenUdp, UdpAddress, UdpHandler, UdpSocket } from '../../src/udp/socket.ts';
import { withDeadline } from '../support/deadline.ts';

/** What the QUIC driver may expect of any UDP socket (src/udp/socket.ts), over loopback. */
export function udpContract(suite: Test, open: OpenUdp): void {
  const check = (name: string, run: (t: Test, ears: (options: Parameters<OpenUdp>[0]) => Promise<Ear>) => Promise<void>): void => {
    void suite.test(name, async (t) => {
      await run(t, async (options) => {
        const ear = new Ear(await open(options));
        t.teardown(() => ear.udp.close());
        return ear;
      });
    });
  };

  check('a run of equal datagrams with a shorter last one arrives as it was sent', async (t, listen) => {
    const receiver = await listen(LOOPBACK);
    const sender = await listen({ bind: ANY, connect: receiver.udp.address });
    for (const [count, segment, last] of [
      [1, 1200, 1200],
      [2, 1350, 1],
      [10, 1350, 700],
      [40, 1400, 1400],
      [48, 1350, 17],
    ] as const) {
      const expected = sender.send(count, segment, last, receiver.udp.address);
      await receiver.until(expected.length, `${count} datagrams of ${segment}`);
      t.strictSame(receiver.take(), expected, `${count} × ${segment}, last ${last}`);
    }
  });

  check('runs sent one right after the other do not mix, whatever becomes of the buffer', async (t, listen) => {
    const receiver = await listen(LOOPBACK);
    const sender = await listen({ bind: ANY, connect: receiver.udp.address });
    const expected = [];
    for (let run = 0; run < 20; run++) expected.push(...sender.send(1 + (run % 7), 1000 + run, 500 + run, receiver.udp.address));
    await receiver.until(expected.length, 'all runs');
    t.strictSame(receiver.take(), expected);
  });

  check('large runs back to back arrive without a foreign byte', async (t, listen) => {
    const receiver = await listen(LOOPBACK);
    const sender = await listen({ bind: ANY, connect: receiver.udp.address });
    const expected = new Set<string>();
    for (let run = 0; run < 40; run++) for (const text of sender.send(46, 1400, 1400, receiver.udp.address)) expected.add(text);
    await receiver.until(46, 'at least one run');
    await receiver.quiet();
    const got = receiver.take();
    t.ok(
      got.every((text) => expected.has(text)),
      `${got.length} of ${expected.size} datagrams came, each as it was sent`,
    );
  });

  check('two peers are told apart, and each has one address object', async (t, listen) => {
    const receiver = await listen(LOOPBACK);
    const senders = [
      await listen({ bind: ANY, connect: receiver.udp.address }),
      await listen({ bind: ANY, connect: receiver.udp.address }),
    ];
    for (let round = 0; round < 5; round++) for (const sender of senders) sender.send(3, 300, 300, receiver.udp.address);
    await receiver.until(30, '30 datagrams');
    const ports = senders.map(({ udp }) => udp.address.port).toSorted();
    t.strictSame([...new Set(receiver.from.map(({ port }) => port))].toSorted(), ports);
    t.ok(receiver.from.every(({ host }) => host === '127.0.0.1'));
    t.ok(new Set(receiver.from).size <= 10, `${new Set(receiver.from).size} address objects for 30 datagrams`);
  });

  check('answers go to each peer', async (t, listen) => {
    const server = await listen(LOOPBACK);
    const clients = [
      await listen({ bind: ANY, connect: server.udp.address }),
      await listen({ bind: ANY, connect: server.udp.address }),
    ];
    for (const client of clients) client.send(1, 10, 10, server.udp.address);
    await server.until(2, 'both');
    for (const [i, from] of server.from.entries()) server.send(1, 100 + i, 100 + i, from);
    for (const client of clients) {
      await client.until(1, 'an answer');
      t.equal(client.take().length, 1);
    }
  });

  check('a plain socket: datagrams of every size, the empty one too, there and back', async (t, listen) => {
    const server = await listen({ ...LOOPBACK, isPlain: true });
    const client = await listen({ bind: ANY, connect: server.udp.address, isPlain: true });
    t.equal(server.udp.keepsWhole, false);
    for (const size of [0, 1, 1_500, 40_000, 65_507]) {
      const asked = client.send(1, size, size, server.udp.address);
      await server.until(1, `${size} bytes`);
      t.strictSame(server.take(), asked, `${size} bytes`);
      const answered = server.send(1, size, size, server.from.at(-1)!);
      await client.until(1, `${size} bytes back`);
      t.strictSame(client.take(), answered, `${size} bytes back`);
    }
  });

  check('a connected socket hears that nothing listens', async (t, listen) => {
    const gone = await listen(LOOPBACK);
    const { address } = gone.udp;
    gone.udp.close();
    const sender = await listen({ bind: ANY, connect: address });
    const error = await sender.untilError(() => void sender.send(1, 10, 10, address));
    t.equal(error.code, 'LINK_REFUSED');
    t.match(error.message, /Nothing listens/);
  });

  check('a connected socket hears its peer only', async (t, listen) => {
    const peer = await listen(LOOPBACK);
    const stranger = await listen(LOOPBACK);
    const client = await listen({ bind: ANY, connect: peer.udp.address });
    const { address } = client.udp;
    t.equal(address.host, '127.0.0.1', 'it knows its own address');
    stranger.send(1, 20, 20, address);
    const expected = peer.send(1, 30, 30, address);
    await client.until(1, 'the peer');
    await client.quiet();
    t.strictSame(client.take(), expected);
  });

  check('IPv6', async (t, listen) => {
    const receiver = await listen({ bind: { host: '::1', port: 0 } });
    const sender = await listen({ bind: ANY, connect: receiver.udp.address });
    const expected = sender.send(5, 1232, 100, receiver.udp.address);
    await receiver.until(5, 'a run');
    t.strictSame(receiver.take(), expected);
    t.equal(receiver.from[0]!.host, '::1');
    const answer = receiver.send(3, 1000, 5, receiver.from[0]!);
    await sender.until(3, 'the answer');
    t.strictSame(sender.take(), answer);
  });

  check('a socket for all addresses serves IPv4 and IPv6', async (t, listen) => {
    const server = await listen({ bind: ANY });
    for (const host of ['127.0.0.1', '::1']) {
      const address = { host, port: server.udp.address.port };
      const client = await listen({ bind: ANY, connect: address });
      client.send(2, 1000, 3, address);
      await server.until(2, host);
      const expected = server.send(4, 900, 9, server.from.at(-1)!);
      await client.until(4, 'the answer');
      t.strictSame(client.take(), expected, host);
      server.take();
    }
  });

  check('an address in use, and one that this machine does not have', async (t, listen) => {
    const first = await listen(LOOPBACK);
    await t.rejects(open({ bind: first.udp.address }), { code: 'LISTEN_FAILED', message: /another program uses it/ });
    await t.rejects(open({ bind: { host: '192.0.2.1', port: 0 } }), {
      code: 'LISTEN_FAILED',
      message: /does not have that address/,
    });
  });

  check('closing while sending, twice, and sending after it', async (t, listen) => {
    const receiver = await listen(LOOPBACK);
    const sender = await listen({ bind: ANY, connect: receiver.udp.address });
    sender.send(40, 1400, 1400, receiver.udp.address);
    sender.udp.close();
    sender.udp.close();
    t.doesNotThrow(() => sender.send(2, 100, 100, receiver.udp.address));
    await receiver.until(1, 'what was sent before');
    t.strictSame(sender.errors, []);
  });

  check('what cannot be sent is told, not thrown', async (t, listen) => {
    const sender = await listen({ bind: { host: '127.0.0.1', port: 0 } });
    const error = await sender.untilError(() => void sender.send(1, 10, 10, { host: '192.0.2.1', port: 9 }));
    t.equal(error.code, 'LINK_LOST');
  });

  check('a handler may close the socket', async (t, listen) => {
    const receiver = await listen(LOOPBACK);
    const sender = await listen({ bind: ANY, connect: receiver.udp.address });
    const closed = receiver.untilClosed();
    sender.send(20, 500, 500, receiver.udp.address);
    await closed;
    await sender.quiet();
    receiver.take();
    sender.send(20, 500, 500, receiver.udp.address);
    await sender.quiet();
    t.strictSame(receiver.take(), [], 'and hears nothing of what is sent after that');
  });
}

class Deaf implements UdpHandler {
  onDatagram(_bytes: Uint8Array, _offset: number, _length: number, _from: UdpAddress): void {}
  onError(_error: QtunnelError): void {}
}

/** Writes down what comes. */
class Ear extends Deaf {
  readonly udp: UdpSocket;
  readonly errors: QtunnelError[] = [];
  readonly from: UdpAddress[] = [];
  #texts: string[] = [];
  #wake: () => void = () => {};
  #counter = 0;

  constructor(udp: UdpSocket) {
    super();
    this.udp = udp;
    udp.handler = this;
  }

  override onDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    this.#texts.push(textOf(bytes.subarray(offset, offset + length)));
    this.from.push(from);
    this.#wake();
  }

  override onError(error: QtunnelError): void {
    this.errors.push(error);
    this.#wake();
  }

  /** Sends one run, each datagram with bytes of its own, and returns them as text. */
  send(count: number, segment: number, last: number, to: UdpAddress): string[] {
    const { sendBuffer } = this.udp;
    const sent: string[] = [];
    for (let i = 0; i < count; i++) {
      const length = i === count - 1 ? last : segment;
      const datagram = sendBuffer.subarray(i * segment, i * segment + length);
      datagram.fill(this.#counter++);
      if (length > 2) datagram.set([segment >>> 8, segment, this.#counter >>> 8]);
      else datagram[0] = segment >>> 8;
      sent.push(textOf(datagram));
    }
    this.udp.send((count - 1) * segment + last, segment, to);
    return sent;
  }

  take(): string[] {
    const texts = this.#texts;
    this.#texts = [];
    return texts;
  }

  until(count: number, what: string): Promise<void> {
    return this.#until(
      () => this.#texts.length >= count,
      () => `${what} (${this.#texts.length} of ${count} so far)`,
    );
  }

  /** Closes the socket from within the handler's next call. */
  untilClosed(): Promise<void> {
    return this.#until(
      () => this.#texts.length > 0 && (this.udp.close(), true),
      () => 'a datagram',
    );
  }

  /** Sends again and again: what a connected socket hears of the other side comes with the next call. */
  async untilError(send: () => void): Promise<QtunnelError> {
    const again = setInterval(send, 10);
    send();
    try {
      await this.#until(
        () => this.errors.length > 0,
        () => 'an error',
      );
    } finally {
      clearInterval(again);
    }
    return this.errors[0]!;
  }

  /** Lets the event loop turn so often that what is in the kernel's buffers has been read. */
  async quiet(): Promise<void> {
    for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve));
  }

  async #until(holds: () => boolean, what: () => string): Promise<void> {
    const come = new Promise<void>((resolve) => {
      this.#wake = () => holds() && resolve();
      this.#wake();
    });
    await withDeadline(come, what);
    this.#wake = () => {};
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const ANY = { host: '', port: 0 };
const LOOPBACK = { bind: { host: '127.0.0.1', port: 0 } };
