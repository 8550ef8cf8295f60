import { bold, flagGroups } from '../cli/help.ts';
import { AGENT_FLAGS, HUB_FLAGS } from './flags.ts';

/** The text of `qtunnel hub -help`: at most 80 columns wide. */
export function hubHelp(colour: boolean): string {
  return [
    `${bold('qtunnel hub', colour)}${HUB_INTRODUCTION}`,
    `${bold('Try it:', colour)}\n${HUB_EXAMPLES}`,
    ...flagGroups(HUB_FLAGS, colour),
    `${bold('A file for -conf:', colour)}\n${HUB_FILE}`,
    MORE,
  ].join('\n');
}

/** The text of `qtunnel agent -help`: at most 80 columns wide. */
export function agentHelp(colour: boolean): string {
  return [
    `${bold('qtunnel agent', colour)}${AGENT_INTRODUCTION}`,
    `${bold('Try it:', colour)}\n${AGENT_EXAMPLES}`,
    ...flagGroups(AGENT_FLAGS, colour),
    `${bold('A file for -conf:', colour)}\n${AGENT_FILE}`,
    MORE,
  ].join('\n');
}

const HUB_INTRODUCTION = `: public ports that lead to services behind NAT

The hub runs on a machine that everybody can reach. Agents (qtunnel agent) run
inside private networks, dial out to it, and keep one encrypted connection.
What connects to a public port of the hub reaches a service inside. While the
agent of a port is away, connections to it are reset.
`;

const HUB_EXAMPLES = `  qtunnel hub -listen=:9000 -ports=10000-10100 -api=127.0.0.1:8080 -secret=S
  qtunnel agent -server=hub:9000 -secret=S -R 10022:127.0.0.1:22
  ssh -p 10022 user@hub

  The first on the public server, the second inside: it asks for port 10022 of
  the hub and has it lead to its own port 22. The third from anywhere. Over the
  API the hub itself makes such mappings: qtunnel mapping create -help.
`;

const HUB_FILE = `  port_range: { from: 10000, end: 10100 }
  tunnel: { enabled: true, listen_port: 9000 }
  api: { listen_port: 8080 }
  database: { path: /var/lib/qtunnel/hub.db }
  secret-file: /etc/qtunnel/secret
  log-level: info

  Every other flag is a key of the same name. SIGHUP reads the file again.
`;

const AGENT_INTRODUCTION = `: lets a hub reach services in here

The agent dials out to the hub (qtunnel hub) and keeps one connection to it:
QUIC, or TLS where UDP does not pass. It makes the connection again for ever.
The hub reaches what -R names and what -allow has, and nothing else.
`;

const AGENT_EXAMPLES = `  qtunnel agent -server=hub:9000 -secret=S -R 10022:127.0.0.1:22
  qtunnel agent -server=hub:9000 -secret=S -allow=10.0.0.0/8:80-443

  The first has the hub's port 10022 lead to the ssh server of this machine. The
  second offers the web servers of a network, for mappings that the hub makes.

  When two agents have one name, who began last has its ports; the other one
  waits until that one is gone.
`;

const AGENT_FILE = `  server: hub:9000
  secret-file: /etc/qtunnel/secret
  R: ["10022:127.0.0.1:22"]
  allow: ["127.0.0.1:22", "10.0.0.0/8:80-443"]

  Every other flag is a key of the same name. SIGHUP reads the file again.
`;

const MORE = `Each flag is also a variable QTUNNEL_…, such as QTUNNEL_SECRET. SIGTERM ends
after the open connections, a second one at once. Exit codes: 0 all connections
had ended; 1 failed, or connections were cut off; 2 wrong command line or file.
`;
