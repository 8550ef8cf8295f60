import { bold, flagGroups } from '../cli/help.ts';
import { BENCH_FLAGS } from './flags.ts';

/** The text of `qtunnel bench -help`: at most 80 columns wide. */
export function benchHelp(colour: boolean): string {
  const shown = BENCH_FLAGS.filter(({ group }) => GROUPS.includes(group)).toSorted(
    (a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group),
  );
  return [
    `${bold('qtunnel bench', colour)}${INTRODUCTION}`,
    `${bold('Try it:', colour)}\n${EXAMPLES}`,
    `${bold('What the table says:', colour)}\n${TABLE}`,
    ...flagGroups(shown, colour),
    MORE,
  ].join('\n');
}

const GROUPS = ['Two hosts', 'What is measured', 'Who the peer is'];

const INTRODUCTION = `: measures the way between two hosts through a tunnel

The far end is a qtunnel server with something behind it that takes, sends and
returns bytes. The near end is a qtunnel client, in a process of its own as
always, and a load that goes through its local port: what is measured is what
a program gets, the tunnel's two extra hops over loopback included.
`;

const EXAMPLES = `  qtunnel bench
  qtunnel bench -server
  qtunnel bench -backend=host:9001 -secret=S

  The first runs both ends on this machine, to see what it looks like. For two
  hosts start the second on the far one, where it prints the third, secret
  included, for the near one. It measures QUIC and TCP mode: a firewall in
  between has to let port 9001 through, in UDP and in TCP. With -direct=:9002
  the far end takes plain TCP there as well, to compare with.
`;

const TABLE = `  Throughput: one and many connections, from here to there (up) and back (down),
  in millions of bytes a second that have arrived. Writes: one connection, by
  how much the program writes at once. Round trips: a message goes there and
  back, then the next; p99 is the time that 99 of 100 did not exceed.
  Transfers: random bytes, 64 B to 1 MiB, go there and back over a connection
  of their own, ten at once; whole is what came back with the same SHA-256.

  Every figure is taken over each way in turn before the next. On one machine
  both ends, the tunnel and the load share its cores: only two hosts tell how
  fast a network is.
`;

const MORE = `All flags that tune a tunnel (-congestion, -buffer and so on, see qtunnel -help)
are taken too, as are the variables QTUNNEL_…, such as QTUNNEL_SECRET.

On a terminal a line shows what is being measured; in a pipe each measurement is
a line on standard error. Ctrl-C ends it and shows what there is by then.

Exit codes: 0 all was measured and every transfer was whole; 1 not so, or it was
stopped; 2 wrong command line.
`;
