import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { missing } from '../../test/support/programs.ts';
import type { Contender } from '../contender.ts';
import { PACKAGE_OF } from '../tools.ts';

/** When, on which machine, and with which versions the figures were taken: Markdown lines. */
export function conditions(contenders: readonly Contender[], rounds: number, now: Date): string[] {
  const packages = [...Object.values(PACKAGE_OF), ...contenders.flatMap(({ needs }) => Object.values(needs))];
  const versions = [...new Set(packages)].map((name) => [name, versionOf(name)]).filter(([, version]) => version !== null);
  return [
    `- ${now.toISOString().slice(0, 16).replace('T', ' ')} UTC, qtunnel ${commit()}, Node ${process.version}`,
    `- ${machine()}`,
    `- Median of ${rounds} round${rounds === 1 ? '' : 's'} (lowest–highest); 1 MB = 10⁶ bytes`,
    ...(versions.length > 0 ? [`- Debian's ${versions.map(([name, version]) => `${name} ${version}`).join(', ')}`] : []),
  ];
}

/** The commit, and whether there is more than that in the work tree. */
export function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'of unknown commit';
  }
}

export function machine(): string {
  const processors = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${processors.length} × ${processors[0]?.model ?? 'unknown CPU'}, ${memory} GB, ${process.platform} ${release().split('-')[0]}`;
}

/** Null when the package is not there or this is not Debian. */
function versionOf(packageName: string): string | null {
  if (missing('dpkg-query') !== false) return null;
  try {
    return execFileSync('dpkg-query', ['-W', '-f', '${Version}', packageName], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return null;
  }
}
