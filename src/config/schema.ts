import { z } from 'zod';
import { QtunnelError } from '../errors.ts';
import type { FlagShape } from './flags.ts';
import { quote, refusal } from './layer.ts';
import { parseValue } from './values.ts';
import type { YamlText } from './yaml.ts';

/** A flag's value in a file: the text that would stand on the command line, or a sequence of them where a flag may be given several times. */
export function valueOf(flag: FlagShape, folder: string) {
  return z.unknown().transform((text, context) => {
    const written = REPEATED.has(flag.kind) && Array.isArray(text) ? text.join(',') : text;
    const parsed = parseValue(flag, typeof written === 'string' ? written : '', folder);
    if (typeof written === 'string' && 'value' in parsed) return parsed.value;
    const expected = 'expected' in parsed ? parsed.expected : 'a value';
    context.addIssue({ code: 'custom', message: refusal(flag, '', expected, text).slice(': '.length) });
    return z.NEVER;
  });
}

/** For what has the wrong shape. */
export function expecting(what: string): z.core.$ZodErrorMap {
  return ({ code, input }) => {
    if (code !== 'invalid_type') return undefined;
    return input === undefined || input === null ? `expected ${what}, got nothing` : `expected ${what}, got ${quote(input)}`;
  };
}

/** Says what is wrong with a key at this path. */
export type UnknownKey = (key: string, path: readonly PropertyKey[]) => string;

/** The error that stands first in the file: the others may follow from it. */
export function firstError(error: z.ZodError, yaml: YamlText, file: string, unknownKey: UnknownKey): QtunnelError {
  const found = error.issues
    .flatMap((issue) => describe(issue, unknownKey))
    .map(({ path: at, message }) => ({ line: yaml.lineOf(at), at, message }));
  const first = found.toSorted((a, b) => a.line - b.line)[0];
  const key = first?.at.length ? `${String(first.at.at(-1))}: ` : '';
  return new QtunnelError('CONFIG_INVALID', `${file}:${first?.line ?? 1}: ${key}${first?.message ?? error.message}`);
}

function describe(issue: z.core.$ZodIssue, unknownKey: UnknownKey): { path: PropertyKey[]; message: string }[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownKey(key, issue.path) }));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => ({ path: issue.path, message }));
  }
  return [{ path: issue.path, message: issue.message }];
}

/** What may stand as a sequence in the file. */
const REPEATED: ReadonlySet<FlagShape['kind']> = new Set(['backends', 'list', 'fingerprints', 'ports']);
