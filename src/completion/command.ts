import { EXIT, type ExitCode } from '../cli/exit.ts';
import { suggestion } from '../config/suggest.ts';
import { QtunnelError } from '../errors.ts';
import { candidates } from './candidates.ts';
import { SCRIPTS, SHELLS } from './scripts.ts';

/**
 * `qtunnel completion bash|zsh|fish` prints what that shell reads; `qtunnel completion words …` is what it asks then.
 * @throws QtunnelError `USAGE`
 */
export function completion([first = '', ...words]: readonly string[]): ExitCode {
  if (first === 'words') return print(candidates(words).map((word) => `${word}\n`));
  if (first === '' || /^--?h(elp)?$/.test(first)) return print([HELP]);
  const shell = SHELLS.find((one) => one === first);
  if (shell !== undefined) return print([SCRIPTS[shell]]);
  const hint = suggestion(first, SHELLS, 'qtunnel completion ');
  throw new QtunnelError('USAGE', `qtunnel completion: expected ${SHELLS.join(', ')} after it${hint}`);
}

function print(texts: readonly string[]): ExitCode {
  process.stdout.write(texts.join(''));
  return EXIT.OK;
}

const HELP = `qtunnel completion: has a shell complete commands, flags and their values

  bash, in ~/.bashrc:                    source <(qtunnel completion bash)
  zsh, in ~/.zshrc after compinit:       source <(qtunnel completion zsh)
  fish, in ~/.config/fish/config.fish:   qtunnel completion fish | source
`;
