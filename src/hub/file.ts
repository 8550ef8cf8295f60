import path from 'node:path';
import { z } from 'zod';
import { readConf, schemaOf } from '../config/file.ts';
import type { FlagShape } from '../config/flags.ts';
import { type LayerValue, readValue } from '../config/layer.ts';
import { expecting, firstError } from '../config/schema.ts';
import { suggestion } from '../config/suggest.ts';
import { readYaml, type YamlText } from '../config/yaml.ts';
import { isUrl } from './store/database-url.ts';

/**
 * The settings in a file of `qtunnel hub` or `qtunnel agent`, by the names of their flags. Besides these a hub's file may have the groups of `GROUPS`.
 * @throws QtunnelError `FILE_UNREADABLE`; `CONFIG_INVALID` naming the file, the line, the key, and what was expected.
 */
export function readSettingsFile(file: string, flags: readonly FlagShape[], command: 'hub' | 'agent'): Map<string, LayerValue> {
  const yaml = readYaml(readConf(file), file);
  const groups = command === 'hub' ? GROUPS : {};
  const known = flags.filter(({ name, scope }) => scope !== 'command' && groups[name] === undefined);
  const checked = schemaFor(known, groups, path.resolve(path.dirname(file))).safeParse(yaml.plain ?? {});
  if (!checked.success) throw firstError(checked.error, yaml, file, (key, at) => unknownKey(key, at, known, groups));
  return new Map([...plainValues(checked.data, groups, yaml, file), ...groupedValues(checked.data, groups, flags, yaml, file)]);
}

/** Keys below a key, and the flag that each of these groups gives together. */
interface Group {
  readonly keys: readonly string[];
  /** The flags and their values as on a command line. */
  readonly flags: (given: Readonly<Record<string, string>>, folder: string) => Readonly<Record<string, string>>;
}

function schemaFor(known: readonly FlagShape[], groups: Readonly<Record<string, Group>>, folder: string) {
  const plain = Object.fromEntries(known.map((flag) => [flag.name, schemaOf(flag, folder).optional()]));
  const text = z.string({ error: 'expected a value' });
  const grouped = Object.fromEntries(
    Object.entries(groups).map(([name, { keys }]) => [
      name,
      z
        .strictObject(Object.fromEntries(keys.map((key) => [key, text.optional()])), {
          error: expecting(`keys of its own: ${keys.join(', ')}`),
        })
        .optional(),
    ]),
  );
  return z.strictObject({ ...plain, ...grouped }, { error: expecting('keys such as secret-file:') });
}

type Checked = Readonly<Record<string, unknown>>;

function plainValues(data: Checked, groups: Readonly<Record<string, Group>>, yaml: YamlText, file: string): [string, LayerValue][] {
  return Object.entries(data)
    .filter(([name]) => groups[name] === undefined)
    .map(([name, value]) => [name, { where: `${file}:${yaml.lineOf([name])}: ${name}`, value }]);
}

function groupedValues(
  data: Checked,
  groups: Readonly<Record<string, Group>>,
  flags: readonly FlagShape[],
  yaml: YamlText,
  file: string,
): [string, LayerValue][] {
  return Object.entries(groups).flatMap(([name, group]) => {
    const given = data[name] as Readonly<Record<string, string>> | undefined;
    if (given === undefined) return [];
    const where = `${file}:${yaml.lineOf([name])}: ${name}`;
    return Object.entries(group.flags(given, path.resolve(path.dirname(file)))).map(([flagName, text]): [string, LayerValue] => {
      const flag = flags.find((one) => one.name === flagName)!;
      return [flagName, readValue(flag, text, where, 'CONFIG_INVALID')];
    });
  });
}

function unknownKey(
  key: string,
  at: readonly PropertyKey[],
  known: readonly FlagShape[],
  groups: Readonly<Record<string, Group>>,
): string {
  const group = groups[String(at[0])];
  const names = group?.keys ?? [...known.map(({ name }) => name), ...Object.keys(groups)];
  const hint = suggestion(key, [...names], '');
  return `unknown key${hint === '' ? `; expected one of ${names.join(', ')}` : hint}`;
}

/** What a hub's file may say in groups. */
const GROUPS: Readonly<Record<string, Group>> = {
  port_range: {
    keys: ['from', 'end'],
    flags: ({ from = '', end = from }) => ({ ports: `${from}-${end}` }),
  },
  tunnel: {
    keys: ['enabled', 'listen_port'],
    flags: ({ enabled, listen_port: port }) => ({
      ...(enabled !== undefined && { tunnel: enabled }),
      ...(port !== undefined && { listen: `:${port}` }),
    }),
  },
  api: {
    keys: ['listen', 'listen_port'],
    flags: ({ listen, listen_port: port }) => ({
      ...(port !== undefined && { api: `127.0.0.1:${port}` }),
      ...(listen !== undefined && { api: listen }),
    }),
  },
  database: {
    keys: ['path', 'url'],
    flags: ({ path: file, url }, folder) => ({
      ...(file !== undefined && { database: isUrl(file) ? file : path.resolve(folder, file) }),
      ...(url !== undefined && { database: url }),
    }),
  },
};
