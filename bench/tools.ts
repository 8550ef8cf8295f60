import { missing } from '../test/support/programs.ts';

/** Why these load generators and backends cannot be used, and how to get them; null when all are here. */
export function absenceOfTools(...tools: (keyof typeof PACKAGE_OF)[]): string | null {
  const absent = tools.filter((tool) => missing(tool) !== false);
  if (absent.length === 0) return null;
  const packages = [...new Set(absent.map((tool) => PACKAGE_OF[tool]))];
  return `not installed: ${absent.join(', ')}; on Debian: apt-get install ${packages.join(' ')}`;
}

/** What makes and takes the load, each with Debian's package. */
export const PACKAGE_OF = {
  iperf3: 'iperf3',
  nginx: 'nginx-light',
  ab: 'apache2-utils',
  wrk: 'wrk',
  sockperf: 'sockperf',
} as const;
