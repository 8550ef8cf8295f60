import { bold, flagGroups } from '../cli/help.ts';
import { SERVICE_FLAGS } from './flags.ts';

/** The text of `qtunnel service -help`: at most 80 columns wide. */
export function serviceHelp(colour: boolean): string {
  return [
    `${bold('qtunnel service', colour)}${INTRODUCTION}`,
    `${bold('Try it:', colour)}\n${EXAMPLES}`,
    ...flagGroups(SERVICE_FLAGS, colour),
    MORE,
  ].join('\n');
}

const INTRODUCTION = `: has qtunnel run for as long as the machine does

  qtunnel service install   [hub|agent] [-name=NAME] [-dry-run] FLAGS…
  qtunnel service uninstall [hub|agent] [-name=NAME]
  qtunnel service status    [hub|agent] [-name=NAME]

The flags are those of qtunnel, qtunnel hub or qtunnel agent. To change them,
install again: that replaces the service and starts it again. On Linux systemd
runs it, on macOS launchd, on Windows the Task Scheduler.
`;

const EXAMPLES = `  qtunnel service install -quic -backend=:80 -secret-file=/etc/q.secret -dry-run
  sudo qtunnel service install -conf=/etc/qtunnel/tunnels.yaml
  sudo qtunnel service install agent -server=hub:9000 -secret-file=/etc/q.secret
  sudo systemctl reload qtunnel-agent
`;

const MORE = `The service is named qtunnel, qtunnel-hub or qtunnel-agent, with -NAME after
that, and is run with -supervise. It has to be able to read the files that it
names. Linux: it runs as the user qtunnel, which is made when it is not there
(chown qtunnel FILE), and what it remembers is in /var/lib under its name.
systemctl reload reads its files again; a new version takes the place of one
that runs tunnels by: systemctl kill -s USR2 --kill-whom=main NAME
macOS: it runs as _qtunnel, and remembers in /var/db; its log is in /var/log.
Windows: it runs as LOCAL SERVICE, as a task that starts with the machine, since
Node is no service program; what it remembers and its log are in C:\\ProgramData.

Exit codes: 0 done, it runs; 1 failed, it does not run; 2 wrong command line.
`;
