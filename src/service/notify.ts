import type { Environment } from '../config/environment.ts';
import { libraryC } from '../udp/libc.ts';

/** What a service manager is told of this process, by systemd's protocol (sd_notify(3)); all of it comes to nothing where none listens. */
export interface ServiceManager {
  /** The start is over. From then on the manager hears of the process as often as it wants to, and misses it when its event loop hangs. */
  ready(): void;
  /** It is about to end. */
  stopping(): void;
}

/**
 * The manager that has started this process and wants to hear of it (`NOTIFY_SOCKET`), for the process that it has started and for no child of that.
 * @param pid of this process.
 */
export function serviceManager(environment: Environment, pid = process.pid): ServiceManager {
  const send = senderTo(environment['NOTIFY_SOCKET'] ?? '');
  if (send === null) return NOBODY;
  const interval = watchdogInterval(environment, pid);
  let timer: NodeJS.Timeout | null = null;
  return {
    ready: () => {
      send('READY=1');
      if (interval !== null) timer ??= setInterval(() => send('WATCHDOG=1'), interval).unref();
    },
    stopping: () => send('STOPPING=1'),
  };
}

/** Whether this machine lets a process speak to its manager: Node has no datagrams over Unix sockets, so it takes koffi. */
export function canNotify(): boolean {
  return libraryC() !== null;
}

/** Milliseconds between two signs of life, half of what systemd waits; null when it does not wait for any from this process. */
function watchdogInterval({ WATCHDOG_USEC: micros = '', WATCHDOG_PID: pid }: Environment, ownPid: number): number | null {
  if (!/^[1-9]\d*$/.test(micros) || (pid !== undefined && pid !== String(ownPid))) return null;
  return Number(micros) / 2000;
}

/** A datagram to a Unix socket: its path, or after an @ its name in the abstract namespace. */
function senderTo(address: string): ((state: string) => void) | null {
  const loaded = /^[@/]./.test(address) && Buffer.byteLength(address) <= LONGEST_PATH ? libraryC() : null;
  if (loaded === null) return null;
  const { libc } = loaded;
  const socket = libc.func('int socket(int, int, int)');
  const sendto = libc.func('long sendto(int, void *, size_t, int, void *, unsigned int)');
  const close = libc.func('int close(int)');
  const sockaddr = sockaddrOf(address);
  return (state) => {
    const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number;
    if (fd < 0) return;
    const message = Buffer.from(state);
    sendto(fd, message, message.length, MSG_NOSIGNAL | MSG_DONTWAIT, sockaddr, sockaddr.length);
    close(fd);
  };
}

/** `struct sockaddr_un`, without the bytes after the path; a name in the abstract namespace begins with a zero. */
function sockaddrOf(address: string): Buffer {
  const path = Buffer.from(address);
  if (path[0] === AT) path[0] = 0;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, path]);
}

const NOBODY: ServiceManager = { ready: () => {}, stopping: () => {} };
const AT = 0x40;
/** Of the 108 bytes one stays zero. */
const LONGEST_PATH = 107;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
