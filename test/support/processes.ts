import { readdirSync, readFileSync } from 'node:fs';

/** CPU seconds, user and system, that these processes and those they have started have used so far with all their threads (Linux). */
export function cpuSeconds(pids: readonly number[]): number {
  return sum(pids.flatMap(family).map(cpuSecondsOf));
}

/** Bytes of memory that these processes and those they have started hold at the moment (RSS; Linux). */
export function residentBytes(pids: readonly number[]): number {
  return sum(pids.flatMap(family).map(residentBytesOf));
}

/** The most that `residentBytes` is while `work` goes on. */
export async function peakResidentBytes<T>(pids: readonly number[], work: Promise<T>): Promise<{ result: T; bytes: number }> {
  let bytes = residentBytes(pids);
  const timer = setInterval(() => (bytes = Math.max(bytes, residentBytes(pids))), SAMPLE_MS);
  try {
    const result = await work;
    return { result, bytes };
  } finally {
    clearInterval(timer);
  }
}

/** How many descriptors a process has open at the moment (Linux). */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** The process and its descendants: sshd has one for each session. */
function family(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim();
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => family(Number(child))))];
}

function cpuSecondsOf(pid: number): number {
  return cpuSecondsIn(read(`/proc/${pid}/stat`));
}

/** The same of the text of a process's or a thread's `stat`. */
export function cpuSecondsIn(stat: string): number {
  // The command's name stands in brackets and may have spaces in it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[UTIME] ?? 0) + Number(fields[STIME] ?? 0)) / CLOCK_TICKS_PER_SECOND;
}

function residentBytesOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

/** Empty for a process that has ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Places in /proc/PID/stat, counted from the field after the name; proc(5). */
const UTIME = 11;
const STIME = 12;
/** What Linux tells user space on every architecture that Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;
const SAMPLE_MS = 200;
