import { readFileSync } from 'node:fs';

/** CPU seconds, user and system, that these processes have used so far with all their threads (Linux). */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((total, pid) => total + cpuSecondsOf(pid), 0);
}

function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command's name stands in brackets and may have spaces in it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[UTIME]) + Number(fields[STIME])) / CLOCK_TICKS_PER_SECOND;
}

/** Places in /proc/PID/stat, counted from the field after the name; proc(5). */
const UTIME = 11;
const STIME = 12;
/** What Linux tells user space on every architecture that Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;
