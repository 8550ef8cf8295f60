import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { Program, run } from './process.ts';
import type { Owner } from './process.ts';
import { joinByWan } from './wan.ts';
import type { Path, Wan } from './wan.ts';

/** A network namespace that lives as long as its owner, with one address that its partner can reach. */
export interface Namespace {
  readonly name: string;
  readonly address: string;
  /** What to put before a command that shall run inside. */
  readonly prefix: readonly string[];
}

/** Two namespaces joined by a cable (veth). Needs root and ip. */
export async function cabledNamespaces(t: Owner): Promise<[Namespace, Namespace]> {
  const [a, b] = [await makeNamespace(t, '10.77.0.1'), await makeNamespace(t, '10.77.0.2')];
  await run(t, 'ip', ['link', 'add', 'cable', 'netns', a.name, 'type', 'veth', 'peer', 'name', 'cable', 'netns', b.name]);
  for (const { name, address } of [a, b]) {
    await run(t, 'ip', ['-n', name, 'address', 'add', `${address}/24`, 'dev', 'cable']);
    await run(t, 'ip', ['-n', name, 'link', 'set', 'cable', 'up']);
  }
  return [a, b];
}

/**
 * A second cable between two namespaces that are joined by one already: `b` is reached through it as well, when the first one is gone. Returns the address that `a`
 * has at it.
 */
export async function secondCable(t: Owner, a: Namespace, b: Namespace): Promise<string> {
  await run(t, 'ip', ['link', 'add', 'cable2', 'netns', a.name, 'type', 'veth', 'peer', 'name', 'cable2', 'netns', b.name]);
  for (const [{ name }, address] of [
    [a, SECOND.a],
    [b, SECOND.b],
  ] as const) {
    await run(t, 'ip', ['-n', name, 'address', 'add', `${address}/24`, 'dev', 'cable2']);
    await run(t, 'ip', ['-n', name, 'link', 'set', 'cable2', 'up']);
  }
  // No more specific than the first cable's own route, or it would be taken at once.
  const network = b.address.replace(/\d+$/, '0/24');
  await run(t, 'ip', ['-n', a.name, 'route', 'add', network, 'via', SECOND.b, 'dev', 'cable2', 'metric', '100']);
  return SECOND.a;
}

/** Pulls the first cable out of a namespace, or puts it back. */
export async function setCable(t: Owner, { name }: Namespace, state: 'up' | 'down'): Promise<void> {
  await run(t, 'ip', ['-n', name, 'link', 'set', 'cable', state]);
}

/** Two namespaces joined by an emulated wide-area network. Needs root, ip and gcc. */
export async function distantNamespaces(t: Owner, path: Path): Promise<[Namespace, Namespace, Wan]> {
  const [a, b] = [await makeNamespace(t, '10.77.0.1'), await makeNamespace(t, '10.77.0.2')];
  return [a, b, await joinByWan(t, a, b, path)];
}

/** Three namespaces in a row. `outside` and `inside` reach each other only by way of `between`, which forwards packets. */
export interface Row {
  readonly outside: Namespace;
  readonly between: Namespace;
  readonly inside: Namespace;
}

/** Three namespaces in a row, joined by cables (veth). Needs root, ip and sysctl. */
export async function namespacesInARow(t: Owner): Promise<Row> {
  const outside = await makeNamespace(t, '10.77.1.2');
  const between = await makeNamespace(t, '10.77.1.1');
  const inside = await makeNamespace(t, '10.77.2.2');
  await run(t, 'sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1'], { prefix: between.prefix });
  for (const [end, port, gateway] of [
    [outside, 'outside', '10.77.1.1'],
    [inside, INSIDE, '10.77.2.1'],
  ] as const) {
    await run(t, 'ip', ['link', 'add', 'cable', 'netns', end.name, 'type', 'veth', 'peer', 'name', port, 'netns', between.name]);
    await run(t, 'ip', ['-n', between.name, 'address', 'add', `${gateway}/24`, 'dev', port]);
    await run(t, 'ip', ['-n', between.name, 'link', 'set', port, 'up']);
    await run(t, 'ip', ['-n', end.name, 'address', 'add', `${end.address}/24`, 'dev', 'cable']);
    await run(t, 'ip', ['-n', end.name, 'link', 'set', 'cable', 'up']);
    await run(t, 'ip', ['-n', end.name, 'route', 'add', 'default', 'via', gateway]);
  }
  return { outside, between, inside };
}

/** Loses all packets between `between` and `inside`, in both directions, and tells neither; returns what lets them through again. Needs nft. */
export async function loseInside(t: Owner, { between, inside }: Row): Promise<() => Promise<void>> {
  const ends = [
    [between, INSIDE],
    [inside, 'cable'],
  ] as const;
  for (const [{ prefix }, name] of ends) {
    const table = `table inet cut { chain in { type filter hook prerouting priority -300; iifname "${name}" drop; }; }`;
    await run(t, 'nft', [table], { prefix });
  }
  return async () => {
    for (const [{ prefix }] of ends) await run(t, 'nft', ['delete', 'table', 'inet', 'cut'], { prefix });
  };
}

/** Drops all UDP that leaves or reaches the namespace; returns what lets it through again. Needs nft. */
export async function dropUdp(t: Owner, namespace: Namespace): Promise<() => Promise<void>> {
  const rule = 'meta l4proto udp drop';
  const chain = (hook: string) => `chain ${hook} { type filter hook ${hook} priority 0; ${rule}; }`;
  await run(t, 'nft', [`table inet no_udp { ${chain('input')}; ${chain('output')}; }`], { prefix: namespace.prefix });
  return async () => {
    await run(t, 'nft', ['delete', 'table', 'inet', 'no_udp'], { prefix: namespace.prefix });
  };
}

/** Deletes the namespaces of processes that were killed before they could do so, with all that still runs for them. Needs root and ip. */
export function removeAbandonedNamespaces(): void {
  const names = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
  for (const [name, pid = ''] of names.matchAll(/^qtunnel-(\d+)-\d+/gm)) {
    if (isAlive(Number(pid))) continue;
    for (const orphan of [...processesInside(name), ...processesGiven(name)]) killIfThere(orphan);
    spawnSync('ip', ['netns', 'delete', name]);
  }
}

function processesInside(namespace: string): number[] {
  const pids = spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).stdout ?? '';
  return pids.split('\n').filter(Boolean).map(Number);
}

/** Those that have this word on their command line: wan joins two namespaces from outside. */
function processesGiven(word: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && commandLine(entry).includes(word))
    .map(Number);
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended in the meantime.
  }
}

async function makeNamespace(t: Owner, address: string): Promise<Namespace> {
  const name = `qtunnel-${process.pid}-${++made}`;
  await run(t, 'ip', ['netns', 'add', name]);
  t.teardown(() => new Program('ip', ['netns', 'delete', name], {}).end());
  await run(t, 'ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return { name, address, prefix: ['ip', 'netns', 'exec', name] };
}

/** The interface of `between` that leads to `inside`. */
const INSIDE = 'inside';
const SECOND = { a: '10.78.0.1', b: '10.78.0.2' };
let made = 0;
