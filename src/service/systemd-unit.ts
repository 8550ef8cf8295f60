import { descriptors, END_SECONDS, MARK, type Program } from './manager.ts';
import { isWithin, type Plan } from './plan.ts';

export interface NotifyingProgram extends Program {
  /** Whether the process can tell systemd how it is. */
  readonly notifies: boolean;
}

/**
 * The unit file of a service.
 *
 * The user is a fixed one and not `DynamicUser`: it reads secrets and certificates itself, again at each reload, so these files have to belong to somebody who is
 * there before the service is. (`LoadCredential` would copy them once, at the start.) V8 makes machine code at run time, so there is no `MemoryDenyWriteExecute`.
 */
export function systemdUnit(plan: Plan, program: NotifyingProgram): string {
  const sections = SECTIONS.map(([title, lines]) => [`[${title}]`, ...lines(plan, program)].join('\n'));
  return `# ${MARK}\n${sections.join('\n\n')}\n`;
}

/** Whom services run as. */
export const USER = 'qtunnel';

function unitLines({ kind, unit }: Plan): string[] {
  return [
    `Description=${DESCRIPTIONS[kind]}${unit === 'qtunnel' || unit === `qtunnel-${kind}` ? '' : ` (${unit})`}`,
    'Wants=network-online.target',
    'After=network-online.target',
    'StartLimitIntervalSec=0',
  ];
}

function serviceLines(plan: Plan, program: NotifyingProgram): string[] {
  const { unit, writes, drainTimeout, lowPorts } = plan;
  const capability = lowPorts ? 'CAP_NET_BIND_SERVICE' : '';
  return [
    ...(program.notifies ? ['Type=notify', 'NotifyAccess=main', 'WatchdogSec=30s'] : ['Type=exec']),
    `ExecStart=${[program.node, program.script, ...plan.words].map(quoted).join(' ')}`,
    'ExecReload=/bin/kill -HUP $MAINPID',
    'KillMode=mixed',
    `TimeoutStopSec=${Math.ceil(drainTimeout / 1000) + END_SECONDS}s`,
    'Restart=on-failure',
    'RestartSec=2s',
    // What the user has to correct does not correct itself.
    'RestartPreventExitStatus=2',
    `LimitNOFILE=${descriptors(plan)}`,
    `User=${USER}`,
    `Group=${USER}`,
    `StateDirectory=${unit}`,
    'StateDirectoryMode=0700',
    'UMask=0077',
    ...(writes.length === 0 ? [] : [`ReadWritePaths=${writes.map(quoted).join(' ')}`]),
    `ProtectHome=${isAnyInHome(plan, program) ? 'read-only' : 'yes'}`,
    `CapabilityBoundingSet=${capability}`,
    `AmbientCapabilities=${capability}`,
    ...HARDENING,
  ];
}

/** Then homes cannot be closed altogether. */
function isAnyInHome({ reads, writes }: Plan, { node, script }: Program): boolean {
  return [...reads, ...writes, node, script].some((file) => HOMES.some((home) => isWithin(home, file)));
}

/** One word of a command line (systemd.service(5), "Command lines"): no variable, specifier or escape in it means anything. */
function quoted(word: string): string {
  const plain = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  if (!/["'\\\s;]/.test(plain) && plain !== '') return plain;
  return `"${plain.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"`;
}

type Section = readonly [title: string, lines: (plan: Plan, program: NotifyingProgram) => string[]];

const SECTIONS: readonly Section[] = [
  ['Unit', unitLines],
  ['Service', serviceLines],
  ['Install', () => ['WantedBy=multi-user.target']],
];

const DESCRIPTIONS = { tunnels: 'qtunnel', hub: 'qtunnel hub', agent: 'qtunnel agent' } as const;

const HARDENING = [
  'NoNewPrivileges=yes',
  'ProtectSystem=strict',
  'PrivateTmp=yes',
  'PrivateDevices=yes',
  'ProtectProc=invisible',
  'ProcSubset=pid',
  'ProtectClock=yes',
  'ProtectControlGroups=yes',
  'ProtectHostname=yes',
  'ProtectKernelLogs=yes',
  'ProtectKernelModules=yes',
  'ProtectKernelTunables=yes',
  'LockPersonality=yes',
  'RemoveIPC=yes',
  'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK',
  'RestrictNamespaces=yes',
  'RestrictRealtime=yes',
  'RestrictSUIDSGID=yes',
  'SystemCallArchitectures=native',
  'SystemCallFilter=@system-service @pkey',
  'SystemCallFilter=~@privileged @resources',
  'SystemCallErrorNumber=EPERM',
];

const HOMES = ['/home', '/root', '/run/user'];
