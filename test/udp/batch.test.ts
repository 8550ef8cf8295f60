import { openSync, readdirSync } from 'node:fs';
import os from 'node:os';
import net from 'node:net';
import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { batchUdp } from '../../src/udp/batch.ts';
import { type Libc, loadLibc, MSG, SOCKADDR } from '../../src/udp/libc.ts';
import { readSockaddr, writeSockaddr } from '../../src/udp/sockaddr.ts';
import type { UdpAddress, UdpHandler, UdpSocket } from '../../src/udp/socket.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { integerBetween, seededRandom } from '../support/random.ts';
import { udpContract } from './contract.ts';

const libc = loadLibc();
const needsLibc = { skip: libc === null && 'koffi is not installed, or this is not 64-bit Linux' };

void test('UDP in batches keeps the contract', needsLibc, (t) => {
  udpContract(t, batchUdp()!);
  t.end();
});

interface Heard {
  readonly bytes: Buffer;
  readonly from: UdpAddress;
}

/** Hears datagrams that begin with the size of the run's datagrams, in two bytes. */
class Ear implements UdpHandler {
  readonly heard: Heard[] = [];
  readonly errors: QtunnelError[] = [];
  #check: () => void = () => {};

  onDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    this.heard.push({ bytes: Buffer.from(bytes.subarray(offset, offset + length)), from });
    this.#check();
  }

  onError(error: QtunnelError): void {
    this.errors.push(error);
    this.#check();
  }

  until(what: string, holds: () => boolean): Promise<void> {
    const so = new Promise<void>((resolve) => {
      this.#check = () => holds() && resolve();
      this.#check();
    });
    return withDeadline(
      so,
      () => `${what} (heard ${this.heard.length}, errors ${this.errors.map((error) => error.message).join()})`,
    );
  }

  async datagrams(count: number): Promise<Heard[]> {
    await this.until(`${count} datagrams`, () => this.heard.length >= count);
    return this.heard.splice(0);
  }
}

/** The machine's own calls, counted; `refuse` may say -errno for a run or a datagram instead. */
class Kernel implements Libc {
  runs = 0;
  singles = 0;
  /** What came in, each datagram or joined run as one. */
  received = 0;
  refuse: (isRun: boolean) => number = () => 0;
  duplicate = libc!.duplicate;
  readonly setsockopt = libc!.setsockopt;
  readonly address = libc!.address;
  #refusal = 0;

  readonly sendmsg: Libc['sendmsg'] = (fd, message, flags) => {
    const isRun = Buffer.from(message).readUInt32LE(MSG.CONTROLLEN) > 0;
    if (isRun) this.runs++;
    else this.singles++;
    this.#refusal = this.refuse(isRun);
    return this.#refusal === 0 ? libc!.sendmsg(fd, message, flags) : -1;
  };

  recvmmsg: Libc['recvmmsg'] = (...parameters) => {
    const count = libc!.recvmmsg(...parameters);
    this.received += Math.max(0, count);
    return count;
  };

  errno(): number {
    return this.#refusal === 0 ? libc!.errno() : this.#refusal;
  }
}

interface Ends {
  readonly kernel: Kernel;
  readonly server: UdpSocket;
  readonly at: Ear;
  /** The server as its clients see it. */
  readonly to: UdpAddress;
  open(options?: { connect?: boolean }): Promise<UdpSocket>;
}

/** A server bound to `bind` whose clients reach it at `host`. */
async function ends(t: { teardown(run: () => void): unknown }, bind: string, host = bind): Promise<Ends> {
  const kernel = new Kernel();
  const openUdp = batchUdp(kernel)!;
  const server = await openUdp({ bind: { host: bind, port: 0 } });
  const at = new Ear();
  server.handler = at;
  t.teardown(() => server.close());
  const to = { host, port: server.address.port };
  return {
    kernel,
    server,
    at,
    to,
    async open({ connect = true } = {}) {
      const any = net.isIPv6(host) ? '::' : '0.0.0.0';
      const socket = await openUdp({ bind: { host: connect ? '' : any, port: 0 }, ...(connect && { connect: to }) });
      t.teardown(() => socket.close());
      return socket;
    },
  };
}

/** Sends so many bytes as datagrams of `segment`, and returns them. */
function sendRun(socket: UdpSocket, to: UdpAddress, length: number, segment: number, mark = 0): Buffer[] {
  const run = socket.sendBuffer.subarray(0, length);
  for (let i = 0; i < length; i++) run[i] = (i % 251) + mark;
  for (let at = 0; at < length; at += segment) run.set([segment >> 8, segment & 0xff, mark], at);
  const datagrams = Array.from({ length: Math.ceil(length / segment) }, (_, i) =>
    Buffer.from(run.subarray(i * segment, (i + 1) * segment)),
  );
  socket.send(length, segment, to);
  return datagrams;
}

const bytesOf = (heard: readonly Heard[]): Buffer[] => heard.map(({ bytes }) => bytes);
const onlyFrom = (heard: readonly Heard[]): UdpAddress[] => [...new Set(heard.map(({ from }) => from))];

/** The bind address, and the one that clients send to. */
const WAYS: [name: string, bind: string, host: string, seen: (address: string) => boolean][] = [
  ['IPv4', '127.0.0.1', '127.0.0.1', (host) => host === '127.0.0.1'],
  ['IPv4, all addresses', '0.0.0.0', '127.0.0.1', (host) => host === '127.0.0.1'],
  ...(hasIpv6()
    ? ([
        ['IPv6', '::1', '::1', (host) => host === '::1'],
        ['IPv6, all addresses', '', '::1', (host) => host === '::1'],
        ['IPv4 on a socket for both', '', '127.0.0.1', (host) => host === '::ffff:127.0.0.1'],
      ] as [string, string, string, (address: string) => boolean][])
    : []),
  ...linkLocal().map(
    (address) =>
      ['link-local', '', address, (host: string) => host === address] as [string, string, string, (host: string) => boolean],
  ),
];

for (const [name, bind, host, seen] of WAYS) {
  test(`runs there and back: ${name}`, needsLibc, async (t) => {
    const { at, to, server, open } = await ends(t, bind, host);
    for (const connect of [true, false]) {
      const client = await open({ connect });
      const ear = new Ear();
      client.handler = ear;
      for (const [length, segment] of [
        [48 * 1_350, 1_350],
        [47 * 1_350 + 3, 1_350],
        [1_350, 1_350],
        [3, 1_350],
        [64 * 100, 100],
        [65 * 100, 100],
        [200 * 50 + 7, 50],
      ] as const) {
        const sent = sendRun(client, to, length, segment, 1);
        const heard = await at.datagrams(sent.length);
        t.same(bytesOf(heard), sent, `${length} bytes in datagrams of ${segment}`);
        const [from, ...others] = onlyFrom(heard) as [UdpAddress, ...UdpAddress[]];
        t.equal(others.length, 0, 'one address object');
        t.ok(seen(from.host), from.host);
        t.equal(from.port, client.address.port);
        const back = sendRun(server, from, length, segment, 2);
        t.same(bytesOf(await ear.datagrams(back.length)), back, 'and back');
      }
      t.same([...at.errors, ...ear.errors], []);
    }
  });
}

for (const [name, bind] of [['IPv4', '0.0.0.0'], ...(hasIpv6() ? [['IPv4 on a socket for both', ''] as const] : [])] as const) {
  test(`a socket that is bound to all addresses answers from the one that was asked: ${name}`, needsLibc, async (t) => {
    const { kernel, server, at, to } = await ends(t, bind, '127.0.0.1');
    const hosts = ['127.0.0.2', '127.0.0.1', '127.0.0.3'];
    const clients = await Promise.all(
      hosts.map(async (host) => {
        const { port } = to;
        const client = await batchUdp()!({ bind: { host: '', port: 0 }, connect: { host, port } });
        t.teardown(() => client.close());
        const ear = new Ear();
        client.handler = ear;
        return { client, ear, host };
      }),
    );
    // Runs and single datagrams, from several in turn and in one batch.
    for (const length of [10_000, 500, 13_000]) {
      const asked = clients.map(({ client }, i) => sendRun(client, to, length, 1_350, i));
      const heard = await at.datagrams(asked.flat().length);
      for (const [i, { client, ear, host }] of clients.entries()) {
        const [from, ...others] = onlyFrom(heard.filter(({ from: { port } }) => port === client.address.port)) as [UdpAddress];
        t.same(others, [], 'one address object');
        t.equal(from.local, bind === '' ? `::ffff:${host}` : host);
        const back = sendRun(server, from, length, 1_350, i);
        t.same(bytesOf(await ear.datagrams(back.length)), back, `from ${host}`);
      }
    }
    t.same([...at.errors, ...clients.flatMap(({ ear }) => ear.errors)], []);
    t.ok(kernel.received > 0);
  });
}

test('one client that asks two addresses is two peers, and hears from each', needsLibc, async (t) => {
  const { server, at, to, open } = await ends(t, '0.0.0.0', '127.0.0.1');
  const client = await open({ connect: false });
  const ear = new Ear();
  client.handler = ear;
  for (const host of ['127.0.0.1', '127.0.0.2', '127.0.0.1']) sendRun(client, { ...to, host }, 500, 500, 1);
  const heard = await at.datagrams(3);
  t.same(
    onlyFrom(heard).map(({ local }) => local),
    ['127.0.0.1', '127.0.0.2'],
  );
  for (const { from } of heard) sendRun(server, from, 500, 500, 2);
  t.same(
    (await ear.datagrams(3)).map(({ from }) => from.host),
    ['127.0.0.1', '127.0.0.2', '127.0.0.1'],
  );
});

test('a run goes out in one call and comes in joined', needsLibc, async (t) => {
  const { kernel, at, to, open } = await ends(t, '127.0.0.1');
  const client = await open();
  const sent = sendRun(client, to, 48 * 1_350, 1_350);
  await at.datagrams(sent.length);
  t.equal(kernel.runs + kernel.singles, 1);
  t.ok(kernel.received < sent.length / 2, `${sent.length} datagrams came as ${kernel.received}`);
});

test('two peers at once, one of them twice', needsLibc, async (t) => {
  const { at, to, server, open } = await ends(t, '127.0.0.1');
  const [a, b] = [await open(), await open()];
  const sent = [sendRun(a, to, 13_500, 1_350, 1), sendRun(b, to, 8_003, 1_000, 2), sendRun(a, to, 13_000, 1_350, 3)];
  const heard = await at.datagrams(sent.flat().length);
  t.same(bytesOf(heard), sent.flat());
  const ears = [a, b].map((socket) => {
    const ear = new Ear();
    socket.handler = ear;
    return ear;
  });
  const addresses = onlyFrom(heard);
  t.same(
    addresses.map(({ port }) => port),
    [a.address.port, b.address.port],
    'an object for each, not more',
  );
  // Back to both in turn: the receiver's address is kept from call to call.
  const back = [0, 1, 0, 1, 1].map((i) => sendRun(server, addresses[i]!, 5_000, 1_350, i));
  t.same(bytesOf(await ears[0]!.datagrams(8)), [back[0]!, back[2]!].flat());
  t.same(bytesOf(await ears[1]!.datagrams(12)), [back[1]!, back[3]!, back[4]!].flat());
});

for (const [name, bind, host] of WAYS) {
  test(`a peer is the same object in every place of a batch: ${name}`, needsLibc, async (t) => {
    const { at, to, open } = await ends(t, bind, host);
    const [a, b] = [await open(), await open()];
    const heard: Heard[] = [];
    for (const order of [
      [a, b, a, b],
      [b, a, b, a],
    ]) {
      for (const socket of order) sendRun(socket, to, 500, 500, 1);
      heard.push(...(await at.datagrams(4)));
    }
    const addresses = onlyFrom(heard);
    t.equal(addresses.length, 2, JSON.stringify(addresses));
  });
}

test('the kernel refuses runs: datagrams go out one by one, and no run is tried again', needsLibc, async (t) => {
  for (const errno of [os.constants.errno.EIO, os.constants.errno.EINVAL]) {
    const { kernel, at, to, open } = await ends(t, '127.0.0.1');
    const client = await open();
    kernel.refuse = (isRun) => (isRun ? errno : 0);
    for (let i = 0; i < 3; i++) {
      const sent = sendRun(client, to, 10_000, 1_350);
      t.same(bytesOf(await at.datagrams(sent.length)), sent);
    }
    t.equal(kernel.runs, 1, `errno ${errno}`);
    t.equal(kernel.singles, 3 * 8);
  }
});

test('a run too large for the path to one receiver goes out one by one, runs to others do not', needsLibc, async (t) => {
  const { kernel, at, to, open } = await ends(t, '127.0.0.1');
  const client = await open();
  kernel.refuse = (isRun) => (isRun && kernel.runs === 1 ? os.constants.errno.EMSGSIZE : 0);
  for (let i = 0; i < 2; i++) {
    const sent = sendRun(client, to, 10_000, 1_350);
    t.same(bytesOf(await at.datagrams(sent.length)), sent);
  }
  t.same([kernel.runs, kernel.singles], [2, 8]);
});

test('no room for a run in the kernel: it is lost without an error, and the next goes out', needsLibc, async (t) => {
  for (const errno of [os.constants.errno.ENOBUFS, os.constants.errno.ENOMEM, os.constants.errno.EAGAIN]) {
    const { kernel, at, to, open } = await ends(t, '127.0.0.1');
    const client = await open();
    const errors: QtunnelError[] = [];
    client.handler = { onDatagram() {}, onError: (error) => void errors.push(error) };
    kernel.refuse = () => (kernel.runs === 1 ? errno : 0);
    sendRun(client, to, 10_000, 1_350);
    const sent = sendRun(client, to, 10_000, 1_350);
    t.same(bytesOf(await at.datagrams(sent.length)), sent);
    t.same([kernel.runs, kernel.singles, errors.length], [2, 0, 0], `errno ${errno}`);
  }
});

test('a datagram that is larger than the interface carries is lost without an error', needsLibc, async (t) => {
  const { kernel, at, to, open } = await ends(t, '127.0.0.1');
  const client = await open();
  const errors: QtunnelError[] = [];
  client.handler = { onDatagram() {}, onError: (error) => void errors.push(error) };
  kernel.refuse = () => (kernel.singles === 1 ? os.constants.errno.EMSGSIZE : 0);
  sendRun(client, to, 9_000, 9_000);
  const sent = sendRun(client, to, 1_350, 1_350);
  t.same(bytesOf(await at.datagrams(sent.length)), sent);
  t.same([kernel.singles, errors], [2, []]);
});

test('an address that cannot be sent to costs nobody else their runs', needsLibc, async (t) => {
  const { kernel, at, to, server, open } = await ends(t, '127.0.0.1');
  // What a stranger's datagram can bear as its sender.
  sendRun(server, { host: '127.0.0.1', port: 0 }, 10_000, 1_350);
  t.match(at.errors, [{ code: 'LINK_LOST' }]);
  const client = await open({ connect: false });
  const ear = new Ear();
  client.handler = ear;
  sendRun(client, to, 5, 5);
  const [{ from }] = (await at.datagrams(1)) as [Heard];
  kernel.runs = kernel.singles = 0;
  const sent = sendRun(server, from, 10_000, 1_350);
  t.same(bytesOf(await ear.datagrams(sent.length)), sent);
  t.same([kernel.runs, kernel.singles], [1, 0]);
});

test('a full send buffer loses the run and says nothing; another error is told', needsLibc, async (t) => {
  const { kernel, at, to, open } = await ends(t, '127.0.0.1');
  const client = await open();
  const ear = new Ear();
  client.handler = ear;
  kernel.refuse = () => os.constants.errno.EAGAIN;
  sendRun(client, to, 10_000, 1_350, 1);
  t.same([kernel.runs, kernel.singles], [1, 0], 'not tried again');
  t.same(ear.errors, []);
  kernel.refuse = () => os.constants.errno.EPERM;
  sendRun(client, to, 10_000, 1_350, 2);
  t.match(ear.errors, [{ code: 'LINK_LOST', message: /EPERM/ }]);
  kernel.refuse = () => 0;
  const sent = sendRun(client, to, 10_000, 1_350, 3);
  t.same(bytesOf(await at.datagrams(sent.length)), sent);
});

test('nobody listens at the peer', needsLibc, async (t) => {
  const { server, to, open } = await ends(t, '127.0.0.1');
  const client = await open();
  const ear = new Ear();
  client.handler = ear;
  server.close();
  sendRun(client, to, 10, 10);
  await ear.until('the refusal', () => ear.errors.length > 0);
  t.match(ear.errors, [{ code: 'LINK_REFUSED' }]);
});

test('after close, also by the handler in the midst of a run or a batch, nothing more is heard', needsLibc, async (t) => {
  for (const last of [3, 12, 25]) {
    const { to, server, open } = await ends(t, '127.0.0.1');
    const client = await open();
    let heard = 0;
    const closed = new Promise<void>((resolve) => {
      server.handler = {
        onDatagram() {
          if (++heard !== last) return;
          server.close();
          resolve();
        },
        onError() {},
      };
    });
    for (let i = 0; i < 3; i++) sendRun(client, to, 10_000, 1_000);
    await withDeadline(closed, () => `datagram ${last}`);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(heard, last);
    sendRun(server, to, 100, 100);
    server.close();
  }
});

test('a flood leaves the process its turns', needsLibc, async (t) => {
  const { to, server, open } = await ends(t, '127.0.0.1');
  const client = await open();
  let flooding = true;
  server.handler = {
    // One more for each that was received: the socket is never empty.
    onDatagram: () => flooding && sendRun(client, to, 10, 10),
    onError() {},
  };
  for (let i = 0; i < 100; i++) sendRun(client, to, 10, 10);
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
  flooding = false;
  t.pass('the event loop came round');
});

test('where the event loop cannot tell of the descriptor, Node reads', needsLibc, async (t) => {
  const kernel = new Kernel();
  kernel.duplicate = () => -1;
  const openUdp = batchUdp(kernel)!;
  const server = await openUdp({ bind: { host: '127.0.0.1', port: 0 } });
  const client = await openUdp({ bind: { host: '127.0.0.1', port: 0 }, connect: server.address });
  t.teardown(() => [server, client].forEach((socket) => socket.close()));
  const at = new Ear();
  server.handler = at;
  const sent = sendRun(client, server.address, 10_000, 1_350);
  t.same(bytesOf(await at.datagrams(sent.length)), sent);
  t.same([kernel.runs + kernel.singles, kernel.received], [0, 0]);
  t.notOk(server.keepsWhole);
});

const descriptors = (): number => readdirSync('/proc/self/fd').length;

test('the event loop refuses the descriptor: Node reads, and no descriptor is left', needsLibc, async (t) => {
  const { binding } = process as unknown as { binding(name: string): { TCP: { prototype: Record<string, unknown> } } };
  const { prototype } = binding.call(process, 'tcp_wrap').TCP;
  for (const call of ['open', 'readStart']) {
    const before = descriptors();
    const real = prototype[call];
    prototype[call] = () => -os.constants.errno.EINVAL;
    const server = await batchUdp()!({ bind: { host: '127.0.0.1', port: 0 } }).finally(() => (prototype[call] = real));
    t.equal(server.kind, 'dgram');
    server.close();
    await eventually(`no descriptor more than before (${call})`, () => descriptors() === before);
  }
});

test('a descriptor that is none, or no UDP socket, is refused, and nothing is left of it', needsLibc, async (t) => {
  const bind = { host: '127.0.0.1', port: 0 };
  await t.rejects(batchUdp()!({ bind, fd: -1 }), { code: 'LISTEN_FAILED', message: /ulimit -n/ });
  const before = descriptors();
  await t.rejects(batchUdp()!({ bind, fd: openSync('/dev/null', 'r') }), { code: 'LISTEN_FAILED' });
  t.equal(descriptors(), before);
});

test('where the system forbids recvmmsg, Node reads', needsLibc, async (t) => {
  const kernel = new Kernel();
  kernel.recvmmsg = () => -1;
  const server = await batchUdp(kernel)!({ bind: { host: '127.0.0.1', port: 0 } });
  t.teardown(() => server.close());
  t.equal(server.kind, 'dgram');
});

test('closing gives both descriptors back', needsLibc, async (t) => {
  const openUdp = batchUdp()!;
  const before = descriptors();
  const sockets = await Promise.all(Array.from({ length: 10 }, () => openUdp({ bind: { host: '127.0.0.1', port: 0 } })));
  t.equal(descriptors(), before + 20);
  for (const socket of sockets) socket.close();
  await eventually('no descriptor more than before', () => descriptors() === before);
  t.equal(descriptors(), before);
});

test('no batches without the system calls', async (t) => {
  t.equal(batchUdp(null), null);
});

test('addresses that are taken or not this machine’s are refused in words', needsLibc, async (t) => {
  const { server } = await ends(t, '127.0.0.1');
  const openUdp = batchUdp()!;
  await t.rejects(openUdp({ bind: server.address }), { code: 'LISTEN_FAILED', message: /another program uses it/ });
  await t.rejects(openUdp({ bind: { host: '192.0.2.1', port: 0 } }), {
    code: 'LISTEN_FAILED',
    message: /does not have that address/,
  });
});

test('an address written as sockaddr reads as Node spells it', async (t) => {
  const random = seededRandom(9);
  const group = (): string => (random() < 0.5 ? '0' : integerBetween(random, 0, 0xffff).toString(16));
  const hosts = Array.from({ length: 300 }, () => Array.from({ length: 8 }, group).join(':'));
  hosts.push('::', '::1', '1::', '2001:db8::1:0:0:1', '::ffff:1.2.3.4', '64:ff9b::192.0.2.33', '::1.2.3.4', 'fe80::1');
  const view = new DataView(new ArrayBuffer(SOCKADDR + 4));
  for (const host of hosts) {
    const port = integerBetween(random, 0, 65_535);
    t.equal(writeSockaddr(view, { host, port }, true), 28);
    const { address } = new net.SocketAddress({ address: host, family: 'ipv6' });
    t.same(readSockaddr(view, 0), { host: address, port });
  }
  for (let i = 0; i < 100; i++) {
    const address = { host: Array.from({ length: 4 }, () => integerBetween(random, 0, 255)).join('.'), port: i };
    t.equal(writeSockaddr(view, address, false), 16);
    t.same(readSockaddr(view, 0), address);
    writeSockaddr(view, address, true);
    t.same(readSockaddr(view, 0), { host: `::ffff:${address.host}`, port: i }, 'on a socket for both');
  }
});

test('a link-local address keeps its interface, by name or by number', async (t) => {
  const view = new DataView(new ArrayBuffer(SOCKADDR));
  writeSockaddr(view, { host: 'fe80::1%4242', port: 1 }, true);
  t.same(readSockaddr(view, 0), { host: 'fe80::1%4242', port: 1 });
  writeSockaddr(view, { host: 'fe80::1', port: 1 }, true);
  t.same(readSockaddr(view, 0), { host: 'fe80::1', port: 1 }, 'nothing is left of the one before');
  for (const host of linkLocal()) {
    writeSockaddr(view, { host, port: 1 }, true);
    t.same(readSockaddr(view, 0), { host, port: 1 });
  }
});

function hasIpv6(): boolean {
  return Object.values(os.networkInterfaces()).some((entries) => entries?.some(({ address }) => address === '::1'));
}

/** This machine's link-local addresses, at most one. */
function linkLocal(): string[] {
  const found = Object.entries(os.networkInterfaces()).flatMap(([name, entries = []]) =>
    entries.filter(({ address }) => address.startsWith('fe80:')).map(({ address }) => `${address}%${name}`),
  );
  return found.slice(0, 1);
}
