import { readFileSync } from 'node:fs';
import { eventually } from '../test/support/deadline.ts';
import type { Program } from '../test/support/process.ts';

/**
 * Resolves when somebody listens on the port where the program runs: /proc/PID/net shows the process's own network namespace (Linux).
 * @throws Error with the program's output when it ends before.
 */
export async function listening(program: Program, port: number, protocol: 'tcp' | 'udp' = 'tcp'): Promise<void> {
  let ended = false;
  program.exited.then(
    () => (ended = true),
    () => (ended = true),
  );
  await eventually(`a ${protocol} socket on port ${port}\n${program.tail}`, () => {
    if (ended) throw new Error(`It ended before it listened on port ${port}: ${program.tail}`);
    return ['', '6'].some((version) => hasSocket(tableOf(program.pid, `${protocol}${version}`), port, protocol));
  });
}

/** Whether a table of /proc/net has a socket that listens on this port (TCP) or is bound to it (UDP). */
export function hasSocket(table: string, port: number, protocol: 'tcp' | 'udp'): boolean {
  const local = port.toString(16).toUpperCase().padStart(4, '0');
  const state = protocol === 'tcp' ? TCP_LISTEN : UDP_BOUND;
  return table.split('\n').some((line) => {
    const [, address = '', , itsState] = line.trim().split(/\s+/);
    return address.endsWith(`:${local}`) && itsState === state;
  });
}

function tableOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/net/${name}`, 'utf8');
  } catch {
    return '';
  }
}

/** As in the kernel's tcp_states.h. */
const TCP_LISTEN = '0A';
const UDP_BOUND = '07';
