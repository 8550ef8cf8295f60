import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cabledNamespaces, distantNamespaces, loseInside, namespacesInARow } from '../test/support/netns.ts';
import type { Namespace } from '../test/support/netns.ts';
import { run } from '../test/support/process.ts';
import type { Owner } from '../test/support/process.ts';
import { missingForNamespaces } from '../test/support/programs.ts';
import type { Path } from '../test/support/wan.ts';

/** Where the two ends of a tunnel run, each with its part of the load beside it. */
export interface Site {
  readonly client: Host;
  readonly server: Host;
}

export interface Host {
  /** Where the other host reaches this one. */
  readonly address: string;
  /** What to put before a command that shall run here. */
  readonly prefix: readonly string[];
}

/** Both ends on this machine's loopback interface. */
export function loopbackSite(): Site {
  const here = { address: '127.0.0.1', prefix: manyFiles() };
  return { client: here, server: here };
}

/** Two network namespaces joined by a cable for Ethernet frames (veth, MTU 1500). */
export async function cableSite(owner: Owner): Promise<Site> {
  const [client, server] = await cabledNamespaces(owner);
  return { client: asHost(client), server: asHost(server) };
}

/** Two network namespaces joined by an emulated wide-area network. */
export async function wanSite(owner: Owner, path: Path): Promise<Site> {
  const [client, server] = await distantNamespaces(owner, path);
  // What TCP has learned of the path with one contender is not for the next one.
  const settings = [`net.ipv4.tcp_congestion_control=${TCP_OF_TUNNELS}`, 'net.ipv4.tcp_no_metrics_save=1'];
  for (const { prefix } of [client, server]) await run(owner, 'sysctl', ['-q', '-w', ...settings], { prefix });
  return { client: asHost(client), server: asHost(server) };
}

/** A public server, a private network behind it, and users who reach the server only. */
export interface HubSite extends Site {
  /** The users', with their part of the load. `client` is the public server, `server` the machine inside. */
  readonly outside: Host;
  /** Loses everything between the public server and the inside; returns what lets it through again. */
  cut(owner: Owner): Promise<() => Promise<void>>;
}

/** Three network namespaces in a row (veth, MTU 1500): users, the public server, and the machine inside. */
export async function hubSite(owner: Owner): Promise<HubSite> {
  const row = await namespacesInARow(owner);
  const [outside, client, server] = [asHost(row.outside), asHost(row.between), asHost(row.inside)];
  return { outside, client, server, cut: (during) => loseInside(during, row) };
}

/** As for namespaces; and tunnels over TCP get the congestion control that does best on bad paths. */
export function wanAbsence(): string | null {
  return namespacesAbsence() ?? tcpAbsence();
}

/** Within a namespace only what the whole machine allows can be chosen. */
function tcpAbsence(): string | null {
  const allowed = readFileSync('/proc/sys/net/ipv4/tcp_allowed_congestion_control', 'utf8').trim();
  if (allowed.split(' ').includes(TCP_OF_TUNNELS)) return null;
  return `needs TCP ${TCP_OF_TUNNELS}: modprobe tcp_bbr; sysctl -w net.ipv4.tcp_allowed_congestion_control="${allowed} ${TCP_OF_TUNNELS}"`;
}

/** What a backend listens on: loopback alone, or everything within a namespace. */
export function bindAddress({ address }: Host): string {
  return address === '127.0.0.1' ? address : '0.0.0.0';
}

/** Why there are no namespaces here, in words that say what to do; null when they can be had. */
export function namespacesAbsence(): string | null {
  if (process.platform !== 'linux') return 'needs Linux, for its network namespaces';
  return missingForNamespaces('gcc', 'sysctl') || null;
}

export type TcpCongestion = 'cubic' | 'bbr';

function asHost({ address, prefix }: Namespace): Host {
  return { address, prefix: [...manyFiles(), ...prefix] };
}

/** How many files and sockets a program may have open that runs at a site. */
export function maxOpenFiles(): number {
  const [, hard = ''] = /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return manyFiles().length > 0 ? LIFTED_FILES : Number(hard);
}

/** 10,000 connections are 20,000 sockets for a tunnel's end, for which the limit has to be lifted where that is allowed. */
function manyFiles(): readonly string[] {
  mayLiftLimit ??= spawnSync(LIFTED[0]!, [...LIFTED.slice(1), 'true'], { stdio: 'ignore' }).status === 0;
  return mayLiftLimit ? LIFTED : [];
}

const TCP_OF_TUNNELS: TcpCongestion = 'bbr';
const LIFTED_FILES = 65_536;
const LIFTED = ['prlimit', `--nofile=${LIFTED_FILES}:${LIFTED_FILES}`];
let mayLiftLimit: boolean | undefined;
