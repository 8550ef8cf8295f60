import { fileURLToPath } from 'node:url';

/** The compiled file of a program in this folder, to be run by Node. */
export function programFile(name: 'megabyte' | 'idle' | 'first-byte' | 'relay'): string {
  return fileURLToPath(new URL(`${name}.js`, import.meta.url));
}
