import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { QtunnelError } from '../errors.ts';
import { findFlag, type Flag, FLAGS, type FlagName, PROCESS_FLAGS, TUNNEL_FLAGS } from './flags.ts';
import { type Layer, type LayerValue, quote, refusal } from './layer.ts';
import { suggestion } from './suggest.ts';
import { NAME, parseValue } from './values.ts';
import { readYaml, type YamlText } from './yaml.ts';

/** What a `-conf` file says. Relative paths in it are relative to the file's folder. */
export interface TunnelsFile {
  readonly process: Layer;
  readonly defaults: Layer;
  /** By tag, in the file's order; at least one. */
  readonly tunnels: ReadonlyMap<string, Layer>;
  /** `tunnels.yaml:12` for a tunnel's entry. */
  where(tag: string): string;
}

/**
 * @param file the path as the user gave it, which is how errors name it.
 * @throws QtunnelError `FILE_UNREADABLE`; `CONFIG_INVALID` naming the file, the line, the key, and what was expected.
 */
export function readTunnelsFile(file: string): TunnelsFile {
  const yaml = readYaml(readText(file), file);
  const checked = schemaFor(path.resolve(path.dirname(file))).safeParse(yaml.plain ?? {});
  if (!checked.success) throw firstError(checked.error, yaml, file);
  const { defaults, tunnels, ...ofProcess } = checked.data;
  const where = (keys: readonly string[]) => `${file}:${yaml.lineOf(keys)}`;
  const layer = (entry: Entry, parents: readonly string[], shared: boolean): Layer => ({
    shared,
    values: new Map(
      Object.entries(entry).map(([name, value]): [FlagName, LayerValue] => [
        name as FlagName,
        { where: `${where([...parents, name])}: ${name}`, value },
      ]),
    ),
  });
  return {
    process: layer(ofProcess, [], true),
    defaults: layer(defaults ?? {}, ['defaults'], true),
    tunnels: new Map(Object.entries(tunnels).map(([tag, entry]) => [tag, layer(entry, ['tunnels', tag], false)])),
    where: (tag) => where(['tunnels', tag]),
  };
}

type Entry = Readonly<Record<string, unknown>>;

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new QtunnelError(
      'FILE_UNREADABLE',
      `-conf: the file ${file} cannot be read (${why}): check the path and its permissions`,
      {
        cause,
      },
    );
  }
}

function schemaFor(folder: string) {
  const entryOf = (flags: readonly Flag[]) =>
    Object.fromEntries(flags.map((flag) => [flag.name, valueOf(flag, folder).optional()]));
  const tunnel = z.strictObject(entryOf(TUNNEL_FLAGS), { error: expecting('settings such as listen: ":9001"') });
  const tunnels = z
    .record(z.string().regex(NAME, { error: `expected a tag of letters, digits, "-", "_" and "."` }), tunnel, {
      error: expecting('tunnels under their tags, such as web: { listen: ":9001", backend: "127.0.0.1:80" }'),
    })
    .refine((map) => Object.keys(map).length > 0, { error: 'expected at least one tunnel' });
  const top = { ...entryOf(PROCESS_FLAGS), defaults: tunnel.optional(), tunnels };
  return z.strictObject(top, { error: expecting('keys such as tunnels: and defaults:') });
}

function valueOf(flag: Flag, folder: string) {
  return z.unknown().transform((text, context) => {
    const written = REPEATED.has(flag.kind) && Array.isArray(text) ? text.join(',') : text;
    const parsed = parseValue(flag, typeof written === 'string' ? written : '', folder);
    if (typeof written === 'string' && 'value' in parsed) return parsed.value;
    const expected = 'expected' in parsed ? parsed.expected : 'a value';
    context.addIssue({ code: 'custom', message: refusal(flag, '', expected, text).slice(': '.length) });
    return z.NEVER;
  });
}

function expecting(what: string): z.core.$ZodErrorMap {
  return ({ code, input }) => {
    if (code !== 'invalid_type') return undefined;
    return input === undefined || input === null ? `expected ${what}, got nothing` : `expected ${what}, got ${quote(input)}`;
  };
}

/** The error that stands first in the file: the others may follow from it. */
function firstError(error: z.ZodError, yaml: YamlText, file: string): QtunnelError {
  const found = error.issues
    .flatMap((issue) => describe(issue))
    .map(({ path: at, message }) => ({ line: yaml.lineOf(at), at, message }));
  const first = found.toSorted((a, b) => a.line - b.line)[0];
  const key = first?.at.length ? `${String(first.at.at(-1))}: ` : '';
  return new QtunnelError('CONFIG_INVALID', `${file}:${first?.line ?? 1}: ${key}${first?.message ?? error.message}`);
}

function describe(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string }[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownKey(key, issue.path.length === 0) }));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => ({ path: issue.path, message }));
  }
  return [{ path: issue.path, message: issue.message }];
}

function unknownKey(key: string, top: boolean): string {
  const flag = findFlag(key);
  if (flag?.scope === 'command') return 'is not for a file: give it on the command line';
  if (flag?.scope === 'process') return "concerns the whole process: move it to the file's top level";
  if (flag !== undefined) return 'concerns a tunnel: move it under defaults or under a tunnel';
  const known = FLAGS.filter(({ scope }) => scope === (top ? 'process' : 'tunnel')).map(({ name }) => name);
  const hint = suggestion(key, top ? [...known, 'defaults', 'tunnels'] : known, '');
  return `unknown key${hint === '' ? `; expected one of ${(top ? [...known, 'defaults', 'tunnels'] : known).join(', ')}` : hint}`;
}

/** What may stand as a sequence in the file. */
const REPEATED: ReadonlySet<Flag['kind']> = new Set(['backends', 'list']);
