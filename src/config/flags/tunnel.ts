import type { FlagShape } from './shape.ts';

/** What a tunnel joins, and what carries it. */
export const TUNNEL = [
  {
    name: 'listen',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'address',
    default: ':9001',
    anyPort: true,
    help: 'accept here: TCP on a client, the link on a server; port 0 takes a free one',
  },
  {
    name: 'backend',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'backends',
    default: '127.0.0.1:6400',
    dialled: true,
    help: 'connect to: the server from a client, the TCP service from a server; a server may offer more, each as -backend=NAME=HOST:PORT',
  },
  {
    name: 'target',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'name',
    default: null,
    only: 'client',
    help: "which of the server's backends to use, by its name there; without it the one that has no name",
  },
  { name: 'clientmode', group: 'Tunnel', scope: 'tunnel', kind: 'boolean', default: 'false', help: 'be the client' },
  {
    name: 'quic',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'false',
    help: 'carry everything over QUIC (UDP); without it: TLS over TCP',
  },
  {
    name: 'fallback',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'true',
    help: 'with -quic, use TLS over TCP while UDP does not pass',
  },
  {
    name: 'transport',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'enum',
    choices: ['quic', 'auto'],
    default: 'quic',
    only: 'client',
    help: 'with -quic and -fallback, what new connections take: always QUIC, or TLS on a near path without loss',
  },
] as const satisfies readonly FlagShape[];
