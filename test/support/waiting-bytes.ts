import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Bytes that wait in the sockets of a process for it to read them (Linux). */
export function waitingBytes(pid: number): number {
  const own = socketsOf(pid);
  return TABLES.flatMap(rows).reduce((sum, { inode, bytes }) => sum + (own.has(inode) ? bytes : 0), 0);
}

/** By their inodes. */
function socketsOf(pid: number): Set<string> {
  const folder = `/proc/${pid}/fd`;
  return new Set(readdirSync(folder).flatMap((fd) => /^socket:\[(\d+)\]$/.exec(targetOf(`${folder}/${fd}`))?.[1] ?? []));
}

/** proc_net_tcp(5): the fifth column is the queues' lengths in hexadecimal digits, the tenth the inode. Sockets that listen count connections there. */
function rows(table: string): { readonly inode: string; readonly bytes: number }[] {
  return readFileSync(table, 'utf8')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] !== LISTENING)
    .map((columns) => ({ inode: columns[9] ?? '', bytes: Number.parseInt(columns[4]?.split(':')[1] ?? '0', 16) }));
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // It has been closed meanwhile.
    return '';
  }
}

const TABLES = ['/proc/net/udp', '/proc/net/udp6', '/proc/net/tcp', '/proc/net/tcp6'];
const LISTENING = '0A';
