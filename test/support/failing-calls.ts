import { pathToFileURL } from 'node:url';
import type { Qtunnel, RunOptions } from './qtunnel.ts';

/** One call into the system or a native part: which, in which of the two processes, and what makes that process do it. */
export interface FailingCall {
  readonly call: string;
  readonly side: 'client' | 'server';
  /**
   * `load`: connections come and go. `visit`: another client comes to the server and goes. `reload`: SIGHUP. `return`: the server is killed and comes back, and with it the client's link.
   * `start`: the process starts. `death`: the child of a supervisor is killed.
   */
  readonly when: 'load' | 'visit' | 'reload' | 'return' | 'start' | 'death';
  /** Which call from then on. */
  readonly nth: number;
  /** In the child that is started next, of a supervisor. */
  readonly inChild?: boolean;
}

/** How tunnels are started, if not as usual, and the calls that they make then. */
export interface Setting {
  readonly what: string;
  readonly mode: Mode;
  readonly flags: readonly string[];
  /** What backend and server are called, which are on this machine. */
  readonly host?: string;
  readonly calls: readonly FailingCall[];
}

export type Mode = 'quic' | 'tls';

/** How a process is started whose calls are to fail; `call` is one that is to fail from the start. */
export function failing({ call, nth }: Named = { call: '', nth: 1 }, inChild = ''): RunOptions {
  const env = { FAIL_AT_START: `${call} ${nth}`, FAIL_IN_CHILD: inChild };
  return { preload: pathToFileURL('build/test/support/fail-at-command.js').href, env };
}

/** Has it fail; the process then has the event `call_failed`. */
export function armFailure({ child }: Qtunnel, { call, nth }: Named): void {
  child.stdin!.write(`${call} ${nth}\n`);
}

type Named = Pick<FailingCall, 'call' | 'nth'>;

/** All calls that a tunnel of this mode makes which may fail. */
export function callsThatMayFail(mode: Mode): FailingCall[] {
  return mode === 'quic' ? [...QUIC, ...FOR_BOTH] : [...TLS, ...FOR_BOTH];
}

function calls(side: FailingCall['side'], when: FailingCall['when'], names: readonly string[], times = 1): FailingCall[] {
  return names.flatMap((call) => Array.from({ length: times }, (_, index) => ({ call, side, when, nth: index + 1 })));
}

function onBoth(when: FailingCall['when'], names: readonly string[], times = 1): FailingCall[] {
  return [...calls('server', when, names, times), ...calls('client', when, names, times)];
}

/** What a running connection of quiche is asked. */
const RUNNING = ['recv', 'send', 'streamSend', 'streamRecv', 'streamReadable', 'isReadable', 'isDraining', 'isClosed'];
const MORE = ['timeout', 'onTimeout', 'pathStats', 'pathEventNext'];
/** What it is asked besides while it comes and goes. */
const COMING = ['isEstablished', 'isInEarlyData', 'peerCertChain', 'streamPriority', 'stats'];
const CONFIG = ['withBoringSslCtx', 'setApplicationProtos', 'setCcAlgorithmName', 'setMaxIdleTimeout'];

const named = (prefix: string, names: readonly string[]): string[] => names.map((name) => `${prefix}.${name}`);

const QUIC: readonly FailingCall[] = [
  ...onBoth('load', named('quiche', [...RUNNING, ...MORE]), 3),
  ...onBoth('load', ['libc.sendmsg', 'libc.recvmmsg'], 3),
  ...calls('client', 'load', ['os.networkInterfaces']),
  ...calls('server', 'visit', named('quiche', ['accept', ...COMING, 'close'])),
  ...calls('client', 'return', named('quiche', ['connect', ...COMING])),
  ...calls('client', 'return', ['udp.bind', 'udp.connect', 'udp.getsockname', 'udp.bufferSize', 'udp.recvStop']),
  ...calls('client', 'return', ['libc.setsockopt', 'libc.fcntl', 'tcp.open']),
  ...calls('server', 'start', [...named('quiche', CONFIG), 'udp.bind', 'udp.getsockname', 'udp.bufferSize']),
  ...calls('server', 'start', ['libc.fcntl', 'libc.setsockopt', 'libc.recvmmsg', 'tcp.open']),
];

const TLS: readonly FailingCall[] = [
  ...onBoth('load', ['tls.writeBuffer', 'tls.writev'], 2),
  ...calls('server', 'load', ['tls.readStart', 'tls.readStop'], 2),
  ...calls('server', 'visit', [
    'tcp.accept',
    'tls.writeBuffer',
    'tls.writev',
    'tls.readStart',
    'tcp.setNoDelay',
    'tcp.setKeepAlive',
  ]),
  ...calls('client', 'return', ['tcp.connect', 'tls.writeBuffer', 'tls.readStart', 'tcp.setNoDelay', 'tcp.setKeepAlive']),
  ...calls('server', 'reload', ['tls.createSecureContext']),
];

const FOR_BOTH: readonly FailingCall[] = [
  ...onBoth('load', named('tcp', ['writeBuffer', 'shutdown', 'readStart', 'readStop', 'setNoDelay']), 2),
  ...calls('server', 'load', ['tcp.connect', 'tcp.setKeepAlive']),
  ...calls('client', 'load', ['tcp.accept']),
  ...onBoth('reload', ['fs.write', 'promises.open', 'file.readFile', 'file.stat']),
  ...onBoth('start', ['promises.open', 'file.readFile', 'file.stat', 'tcp.listen', 'tcp.bind', 'tcp.getsockname']),
  ...calls('server', 'start', ['promises.mkdir', 'promises.link', 'promises.rm', 'file.writeFile', 'file.sync']),
];

const SILENT = ' without an answer';
const PROCESSES = ['process.spawn EAGAIN', 'process.spawn ENOMEM', 'process.spawn EMFILE'];

export const SETTINGS: readonly Setting[] = [
  {
    what: 'QUIC with -udp=dgram',
    mode: 'quic',
    flags: ['-udp=dgram'],
    calls: [
      ...onBoth('load', ['udp.send'], 3),
      ...calls('client', 'return', ['udp.bind', 'udp.connect', 'udp.getsockname', 'udp.recvStart', 'udp.bufferSize', 'udp.send']),
      // Not recvStart: Node does not look at what it says.
      ...calls('server', 'start', ['udp.bind', 'udp.getsockname', 'udp.bufferSize']),
    ],
  },
  ...(['quic', 'tls'] as const).map((mode) => ({
    what: `${mode}, server and backend by name`,
    mode,
    flags: ['-dial-timeout=2s'],
    host: 'localhost',
    calls: [
      ...calls('server', 'load', ['dns.lookup', `dns.lookup${SILENT}`], 2),
      ...calls('client', 'return', ['dns.promises.lookup', `dns.promises.lookup${SILENT}`]),
    ],
  })),
  {
    what: 'QUIC with -supervise',
    mode: 'quic',
    flags: ['-supervise', '-log-level=debug', '-hang-timeout=2s'],
    calls: [
      ...onBoth('death', PROCESSES),
      ...calls('server', 'death', ['pipe.writeUtf8String'], 4),
      ...calls('client', 'death', ['pipe.writeUtf8String'], 3),
      ...calls('server', 'death', ['pipe.writeUtf8String'], 4).map((call) => ({ ...call, inChild: true })),
    ],
  },
];
