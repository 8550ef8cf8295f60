import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Namespace } from './netns.ts';
import { run, start } from './process.ts';
import type { Owner } from './process.ts';

/** What the path between two namespaces does to packets; units as in wan.c: milliseconds, Mbit/s, KB, per cent. */
export interface Path {
  readonly delay?: number;
  readonly jitter?: number;
  readonly rate?: number;
  readonly queue?: number;
  readonly loss?: number;
  readonly burst?: number;
  readonly dup?: number;
  readonly reorder?: number;
  readonly corrupt?: number;
  /** 1: programs get to see the UDP that is corrupted. */
  readonly unchecked?: number;
  readonly mtu?: number;
  readonly seed?: number;
}

export interface Wan {
  set(path: Path): void;
  /** Drops everything. */
  down(): void;
  up(): void;
  /** The first namespace's UDP comes from other ports from now on, and those it had lead nowhere. */
  rebind(): void;
}

/** Joins two namespaces by an emulated wide-area network (wan.c) until its owner ends. Needs root and gcc. */
export async function joinByWan(t: Owner, a: Namespace, b: Namespace, path: Path): Promise<Wan> {
  const program = start(t, await compiled(t), [a.name, a.address, b.name, b.address, ...options(path)]);
  await program.line(/^ready$/);
  const command = (line: string) => program.child.stdin!.write(`${line}\n`);
  return {
    set: (changed) => command(`set ${options(changed).join(' ')}`),
    down: () => command('down'),
    up: () => command('up'),
    rebind: () => command('rebind'),
  };
}

function options(path: Path): string[] {
  return Object.entries(path).map(([name, value]) => `${name}=${value}`);
}

/** Compiled once for each version of the source; renamed into place, as several tests may get here at once. */
async function compiled(t: Owner): Promise<string> {
  const source = resolve('test/support/wan.c');
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12);
  const binary = join(tmpdir(), `qtunnel-wan-${version}`);
  if (existsSync(binary)) return binary;
  const fresh = `${binary}.${process.pid}`;
  await run(t, 'gcc', ['-O2', '-o', fresh, source]);
  renameSync(fresh, binary);
  return binary;
}
