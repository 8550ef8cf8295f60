import type { Ports } from './ports.ts';
import { duplicator, libraryC } from '../udp/libc.ts';

/** The system calls for sockets that several threads have a part in; Node has none of them. */
export interface SocketCalls {
  /** Another descriptor of the same socket; -1 on failure. */
  duplicate(fd: number): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  close(fd: number): number;
  errno(): number;
  address(buffer: Uint8Array): bigint;
}

/** What the tunnels of a process have in common for their sockets. */
export interface ProcessSockets {
  readonly calls: SocketCalls;
  readonly ports: Ports;
}

/** Null where koffi is not installed, or the platform is another than Linux. */
export function loadSocketCalls(): SocketCalls | null {
  const loaded = libraryC();
  if (loaded === null) return null;
  const { koffi, libc } = loaded;
  return {
    duplicate: duplicator(libc),
    socket: libc.func('int socket(int, int, int)') as unknown as SocketCalls['socket'],
    bind: libc.func('int bind(int, void *, unsigned int)') as unknown as SocketCalls['bind'],
    setsockopt: libc.func('int setsockopt(int, int, int, void *, unsigned int)') as unknown as SocketCalls['setsockopt'],
    close: libc.func('int close(int)') as unknown as SocketCalls['close'],
    errno: () => koffi.errno(),
    address: (buffer) => koffi.address(buffer),
  };
}
