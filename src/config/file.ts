import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { QtunnelError } from '../errors.ts';
import { clientsSchema, unknownClientKey } from './clients.ts';
import { findFlag, type Flag, FLAGS, type FlagName, type FlagShape, PROCESS_FLAGS, TUNNEL_FLAGS } from './flags.ts';
import type { Layer, LayerValue } from './layer.ts';
import { expecting, firstError, valueOf } from './schema.ts';
import { suggestion } from './suggest.ts';
import { NAME } from './values.ts';
import { readYaml } from './yaml.ts';

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
  const yaml = readYaml(readConf(file), file);
  const checked = schemaFor(path.resolve(path.dirname(file))).safeParse(yaml.plain ?? {});
  if (!checked.success) throw firstError(checked.error, yaml, file, unknownKey);
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

export function readConf(file: string): string {
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
    Object.fromEntries(flags.map((flag) => [flag.name, schemaOf(flag, folder).optional()]));
  const tunnel = z.strictObject(entryOf(TUNNEL_FLAGS), { error: expecting('settings such as listen: ":9001"') });
  const tunnels = z
    .record(z.string().regex(NAME, { error: `expected a tag of letters, digits, "-", "_" and "."` }), tunnel, {
      error: expecting('tunnels under their tags, such as web: { listen: ":9001", backend: "127.0.0.1:80" }'),
    })
    .refine((map) => Object.keys(map).length > 0, { error: 'expected at least one tunnel' });
  const top = { ...entryOf(PROCESS_FLAGS), defaults: tunnel.optional(), tunnels };
  return z.strictObject(top, { error: expecting('keys such as tunnels: and defaults:') });
}

/** Named clients may stand in the file itself, or in one of their own. */
export function schemaOf(flag: FlagShape, folder: string) {
  if (flag.kind !== 'clients') return valueOf(flag, folder);
  return z.unknown().transform((value, context) => {
    const schema = typeof value === 'object' && value !== null ? clientsSchema(folder) : valueOf(flag, folder);
    const checked = schema.safeParse(value);
    if (checked.success) return checked.data;
    context.issues.push(...(checked.error.issues as typeof context.issues));
    return z.NEVER;
  });
}

function unknownKey(key: string, path: readonly PropertyKey[]): string {
  if (path.includes('clients')) return unknownClientKey(key);
  const top = path.length === 0;
  const flag = findFlag(key);
  if (flag?.scope === 'command') return 'is not for a file: give it on the command line';
  if (flag?.scope === 'process') return "concerns the whole process: move it to the file's top level";
  if (flag !== undefined) return 'concerns a tunnel: move it under defaults or under a tunnel';
  const known = FLAGS.filter(({ scope }) => scope === (top ? 'process' : 'tunnel')).map(({ name }) => name);
  const hint = suggestion(key, top ? [...known, 'defaults', 'tunnels'] : known, '');
  return `unknown key${hint === '' ? `; expected one of ${(top ? [...known, 'defaults', 'tunnels'] : known).join(', ')}` : hint}`;
}
