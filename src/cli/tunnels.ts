import { type Environment, environmentLayer } from '../config/environment.ts';
import type { Layer } from '../config/layer.ts';
import { loadConfiguration } from '../config/load.ts';
import { lookUp } from '../config/settle.ts';
import type { Supervised } from '../supervise/supervised.ts';
import { VERSION } from '../version.ts';
import { parseArguments } from './arguments.ts';
import { EXIT, type ExitCode, printError } from './exit.ts';
import { refuseMisplaced } from './misplaced.ts';

/**
 * `qtunnel` without a command's word: servers and clients, and what else their flags ask for.
 * @param supervised what a process under supervision is given; null for one that a user has started.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, and what keeps it from beginning.
 */
export async function tunnels(
  words: readonly string[],
  environment: Environment,
  supervised: Supervised | null,
): Promise<ExitCode> {
  const commandLine = parseArguments(words);
  if (lookUp([commandLine], 'version') === true) return print(`qtunnel ${VERSION}\n`);
  refuseMisplaced(commandLine);
  const layers = [commandLine, environmentLayer(environment, true)];
  if (lookUp(layers, 'generate-cert') === true) {
    const { generateCertificate } = await import('./generate-cert.ts');
    return print(await generateCertificate(layers));
  }
  const load = () => loadConfiguration(commandLine, environment);
  const configuration = await load();
  const warnings = [...configuration.warnings, ...warningsFor(commandLine)];
  if (lookUp(layers, 'check') === true) {
    for (const warning of warnings) printError(`qtunnel: warning: ${warning}\n`);
    const { checkText } = await import('./check.ts');
    return print(await checkText(configuration));
  }
  if (supervised === null && configuration.process.supervise) {
    const { supervise } = await import('../supervise/supervise.ts');
    const { serviceManager } = await import('../service/notify.ts');
    return await supervise(words, configuration.process, serviceManager(environment));
  }
  const { serve } = await import('./serve.ts');
  return await serve({ configuration, load, warnings, supervised, environment });
}

function warningsFor(commandLine: Layer): string[] {
  const secret = commandLine.values.has('secret')
    ? ['-secret: other users of this machine can read it in the process list; use -secret-file or QTUNNEL_SECRET']
    : [];
  const bare =
    commandLine.values.size === 0 ? ['started without a flag: the defaults make a server in TCP mode; see qtunnel -help'] : [];
  return [...secret, ...bare];
}

function print(text: string): ExitCode {
  process.stdout.write(text);
  return EXIT.OK;
}
