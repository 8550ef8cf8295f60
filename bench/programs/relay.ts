import net from 'node:net';
import type { Socket } from 'node:net';
import { SocketStream } from '../../src/hub/socket-stream.ts';
import { Bridge } from '../../src/tunnel/bridge.ts';
import { adoptSocket, connectSocket } from '../../src/tunnel/socket-reader.ts';

/**
 * Relays of TCP and nothing else, no counters and no limits, to compare ways of doing it: `KIND PORT` prints the port on which it listens, and forwards to the other one.
 */
type Relay = (port: number) => net.Server;

/** What the hub does: its own bridge, with the target's socket in the place of a link's stream. */
const bridge: Relay = (port) =>
  net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    adoptSocket(client);
    const target = connectSocket({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    client.on('error', ignore);
    target.once('error', () => client.resetAndDestroy());
    target.once('connect', () => {
      const stream = new SocketStream(target);
      new Bridge(client, stream, { onSent: ignore, onReceived: ignore, onEnd: ignore });
      stream.start();
    });
  });

/** Node's own. */
const pipe: Relay = (port) =>
  net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const target = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, target]) socket.on('error', ignore);
    client.pipe(target);
    target.pipe(client);
  });

/** Each direction reads into a buffer of its own and writes from it, and reads on when that is written: nothing is copied. Only what connects can read so. */
const owned: Relay = (port) =>
  net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (accepted) => {
    const client = adopt(accepted);
    const target = ownReader((onread) => net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true, onread }));
    client.onto(target.socket);
    target.onto(client.socket);
  });

/** The same on Node's inner handles, without its streams. */
const handles: Relay = (port) => {
  const server = net.createServer();
  server.on('listening', () => {
    const listening = (server as unknown as { _handle: Handle })._handle;
    listening.onconnection = (status, client) => {
      if (status !== 0 || client === undefined) return;
      const target = new TCP(SOCKET);
      const connecting = new TCPConnectWrap();
      connecting.oncomplete = (failed) => {
        if (failed !== 0) return client.close();
        join(client, target);
      };
      client.setNoDelay(true);
      if (target.connect(connecting, '127.0.0.1', port) !== 0) client.close();
    };
  });
  return server;
};

interface Own {
  readonly socket: Socket;
  onto(other: Socket): void;
}

function ownReader(make: (onread: net.OnReadOpts) => Socket): Own {
  const buffer = Buffer.allocUnsafeSlow(SIZE);
  let other: Socket | null = null;
  const onread = {
    buffer,
    callback: (length: number): boolean => {
      other!.write(buffer.subarray(0, length), onWritten);
      return other!.writableLength === 0;
    },
  };
  const socket = make(onread);
  const onWritten = (): void => {
    if (other!.writableLength === 0) socket.resume();
  };
  socket.on('error', ignore).on('end', () => other!.end());
  return { socket, onto: (to) => void (other = to) };
}

/** What `net.Socket`'s constructor does with `onread`, for one that was accepted. */
function adopt(accepted: Socket): Own {
  const handle = (accepted as unknown as { _handle: unknown })._handle;
  (accepted as unknown as { _handle: unknown })._handle = null;
  return ownReader((onread) => {
    const socket = new net.Socket({ handle, onread, allowHalfOpen: true } as unknown as net.SocketConstructorOpts);
    socket.resume();
    return socket;
  });
}

function join(one: Handle, other: Handle): void {
  const over = { ends: 0 };
  other.setNoDelay(true);
  forward(one, other, over);
  forward(other, one, over);
}

function forward(from: Handle, to: Handle, over: { ends: number }): void {
  const buffer = Buffer.allocUnsafeSlow(SIZE);
  const close = (): void => {
    from.close();
    to.close();
  };
  from.useUserBuffer(buffer);
  from.onread = () => {
    const length = streamBaseState[kReadBytesOrError]!;
    // Nothing was there after all.
    if (length === 0) return;
    if (length > 0) {
      const writing = new WriteWrap();
      writing.oncomplete = (failed) => (failed === 0 ? from.readStart() : close());
      writing.buffer = buffer;
      if (to.writeBuffer(writing, buffer.subarray(0, length)) !== 0) return close();
      if (streamBaseState[kLastWriteWasAsync] !== 0) from.readStop();
      return;
    }
    from.readStop();
    const ending = new ShutdownWrap();
    ending.oncomplete = () => {
      if (++over.ends === 2) close();
    };
    if (to.shutdown(ending) !== 0) close();
  };
  from.readStart();
}

interface Handle {
  onconnection: (status: number, client?: Handle) => void;
  onread: () => void;
  useUserBuffer(buffer: Uint8Array): void;
  setNoDelay(on: boolean): void;
  connect(request: object, host: string, port: number): number;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: object, bytes: Uint8Array): number;
  shutdown(request: object): number;
  close(): void;
}

interface Request {
  oncomplete: (failed: number) => void;
  buffer?: Uint8Array;
}

function ignore(): void {}

interface Bindings {
  readonly tcp_wrap: { readonly TCP: new (type: number) => Handle; readonly TCPConnectWrap: new () => Request };
  readonly stream_wrap: {
    readonly WriteWrap: new () => Request;
    readonly ShutdownWrap: new () => Request;
    readonly streamBaseState: Int32Array;
    readonly kReadBytesOrError: number;
    readonly kLastWriteWasAsync: number;
  };
}

function binding<N extends keyof Bindings>(name: N): Bindings[N] {
  return (process as unknown as { binding(name: N): Bindings[N] }).binding(name);
}

const { TCP, TCPConnectWrap } = binding('tcp_wrap');
const { WriteWrap, ShutdownWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = binding('stream_wrap');
const SOCKET = 0;
const SIZE = 64 * 1024;
const KINDS: Record<string, Relay> = { bridge, pipe, owned, handles };

const [kind = '', port] = process.argv.slice(2);
const server = KINDS[kind]!(Number(port)).listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log((server.address() as net.AddressInfo).port);
});
