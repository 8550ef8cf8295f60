import type { Layer } from '../config/layer.ts';
import { lookUp } from '../config/settle.ts';
import { QtunnelError } from '../errors.ts';

/**
 * Refuses what the command line cannot mean: flags of a tunnel beside `-generate-cert`, and flags of a certificate without it.
 * @throws QtunnelError `USAGE`
 */
export function refuseMisplaced(commandLine: Layer): void {
  const generates = lookUp([commandLine], 'generate-cert') ?? false;
  for (const [name, { where, value }] of commandLine.values) {
    if (generates && !OF_GENERATION.has(name) && !name.startsWith('log') && value !== false) {
      throw new QtunnelError(
        'USAGE',
        `${where} means nothing with -generate-cert, which writes a certificate and exits: leave one of them out`,
      );
    }
    if (!generates && ONLY_OF_GENERATION.has(name) && value !== false) {
      throw new QtunnelError('USAGE', `${where} is for -generate-cert: add it, or leave ${where} out`);
    }
  }
}

const ONLY_OF_GENERATION: ReadonlySet<string> = new Set(['cert-host', 'cert-days', 'force']);
const OF_GENERATION: ReadonlySet<string> = new Set([...ONLY_OF_GENERATION, 'generate-cert', 'cert-file', 'key-file']);
