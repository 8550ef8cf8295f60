import type { Experiment } from './experiment.ts';

export interface Wanted {
  readonly list: boolean;
  readonly experiments: readonly Experiment[];
  /** Whether a part of one of them is wanted, by what it says that it does. */
  isWanted(experiment: Experiment, part: string): boolean;
}

/**
 * Reads the words after `npm run reliability`: names of experiments, each with `:TEXT` behind it for the parts that have TEXT in them; all without any.
 * @throws Error with one sentence when they make no sense.
 */
export function readArguments(words: readonly string[], all: readonly Experiment[]): Wanted {
  const names = words.filter((word) => !LIST.has(word)).map(split);
  for (const { name } of names)
    if (all.every((experiment) => experiment.name !== name))
      throw new Error(`There is no experiment "${name}", but ${all.map((experiment) => experiment.name).join(', ')}.`);
  const wanted = (experiment: Experiment) => names.filter(({ name }) => name === experiment.name);
  return {
    list: words.some((word) => LIST.has(word)),
    experiments: names.length === 0 ? all : all.filter((experiment) => wanted(experiment).length > 0),
    isWanted: (experiment, part) => names.length === 0 || wanted(experiment).some(({ text }) => part.includes(text)),
  };
}

function split(word: string): { name: string; text: string } {
  const [name = '', ...text] = word.split(':');
  return { name, text: text.join(':') };
}

const LIST = new Set(['-list', '--list']);
