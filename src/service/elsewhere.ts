import type { Plan } from './plan.ts';

/** How to have this run as a service where `qtunnel service` does not do it. */
export function instructions(platform: string, { unit, words }: Plan, node: string, script: string): string {
  const argv = [node, script, ...words];
  return platform === 'darwin' ? forLaunchd(unit, argv) : forOthers(unit, argv);
}

function forLaunchd(unit: string, argv: readonly string[]): string {
  const label = `qtunnel.${unit}`;
  const file = `/Library/LaunchDaemons/${label}.plist`;
  const plist = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0"><dict>',
    `  <key>Label</key><string>${label}</string>`,
    '  <key>ProgramArguments</key><array>',
    ...argv.map((word) => `    <string>${escaped(word)}</string>`),
    '  </array>',
    '  <key>RunAtLoad</key><true/>',
    '  <key>KeepAlive</key><true/>',
    '  <key>UserName</key><string>nobody</string>',
    `  <key>StandardErrorPath</key><string>/var/log/${unit}.log</string>`,
    '</dict></plist>',
  ];
  return [
    'On macOS launchd runs services; qtunnel does not install one there. Not tried on a Mac:',
    `put this into ${file}, with a UserName that may read the files it names, and run`,
    `  sudo launchctl bootstrap system ${file}`,
    '',
    ...plist,
    '',
  ].join('\n');
}

function forOthers(unit: string, argv: readonly string[]): string {
  return [
    'Services are installed on Linux with systemd only. Elsewhere have the service manager (on Windows with a',
    `wrapper for services, such as WinSW or NSSM) run this under the name ${unit}, as a user that may read the files`,
    'it names, and start it again when it ends with an exit code other than 0 and 2:',
    '',
    ...argv.map((word) => `  ${word}`),
    '',
  ].join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
