import yargs from 'yargs';

export interface Arguments {
  readonly suites: readonly string[];
  readonly only: readonly string[];
  readonly rounds: number;
  /** Of each load. */
  readonly seconds: number;
  readonly check: boolean;
  readonly writeBaseline: boolean;
  readonly list: boolean;
}

/**
 * Reads the words after `npm run bench --`.
 * @param known the names of all suites.
 * @throws Error with one sentence when they make no sense.
 */
export function readArguments(words: readonly string[], known: readonly string[]): Arguments {
  const found = yargs(words)
    .scriptName('npm run bench --')
    .usage('$0 [options]\n\nMeasures qtunnel beside other tunnels; bench/README.md has the method.')
    .option('suite', { type: 'string', array: true, coerce: split, choices: known, describe: 'what to measure; all unless given' })
    .option('only', { type: 'string', array: true, coerce: split, describe: 'contenders whose name has this in it' })
    .option('rounds', { type: 'string', default: '3', describe: 'how often everything is measured' })
    .option('seconds', { type: 'string', default: '5', describe: 'how long each load lasts' })
    .option('check', {
      type: 'boolean',
      default: false,
      describe: 'compare with bench/baseline.json; exit 1 on a loss of over 15%',
    })
    .option('write-baseline', { type: 'boolean', default: false, describe: 'make bench/baseline.json of this run' })
    .option('list', { type: 'boolean', default: false, describe: 'say what can be measured here, and do nothing' })
    .detectLocale(false)
    .version(false)
    .strict()
    .wrap(100)
    .fail((message, error) => {
      throw error ?? new Error(`${message}: see npm run bench -- --help`);
    })
    .parseSync();
  return {
    suites: found.suite ?? known,
    only: found.only ?? [],
    rounds: positive('rounds', found.rounds),
    seconds: positive('seconds', found.seconds),
    check: found.check,
    writeBaseline: found['write-baseline'] as boolean,
    list: found.list,
  };
}

/** Whether `--suite` has chosen the suite of this name; `hub` stands for all that begin so, `hub-idle` and the like. */
export function isChosenSuite(name: string, chosen: readonly string[]): boolean {
  return chosen.some((one) => name === one || name.startsWith(`${one}-`));
}

function split(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(','));
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} is a whole number from 1 on, not "${text}"`);
  return value;
}
