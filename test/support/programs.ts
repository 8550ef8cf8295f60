import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * For a test's `skip` option: false when all these programs are there, otherwise the reason that the report shows.
 *
 *     test('curl fetches a page', { skip: missing('curl') }, …)
 */
export function missing(...programs: string[]): string | false {
  const absent = programs.filter((program) => find(program) === undefined);
  return absent.length > 0 && `not installed: ${absent.join(', ')}`;
}

/** As `missing`, for tests that make network namespaces: these need root as well. */
export function missingForNamespaces(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  return missing('ip', ...programs);
}

/** The program's full path. */
export function pathOf(program: string): string {
  const path = find(program);
  if (path === undefined) throw new Error(`${program} is not installed`);
  return path;
}

function find(program: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const FOLDERS = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
