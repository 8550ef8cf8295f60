import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../support/files.ts';
import type { Owner } from '../support/process.ts';

/**
 * Puts programs before all others of these names, until the test ends; each writes down how it was called and then runs its shell script.
 * `$HERE` is a folder of theirs.
 */
export class Fakes {
  readonly #log: string;
  readonly folder: string;

  constructor(t: Owner, scripts: Readonly<Record<string, string>>) {
    this.folder = temporaryFolder(t);
    this.#log = path.join(this.folder, 'calls.log');
    for (const [name, script] of Object.entries(scripts)) {
      const file = path.join(this.folder, name);
      writeFileSync(
        file,
        `#!/bin/sh\nHERE='${this.folder}'\nprintf '%s\\0' ${name} "$@" >> "$HERE/calls.log"\necho >> "$HERE/calls.log"\n${script}\n`,
      );
      chmodSync(file, 0o755);
    }
    const { PATH: before = '' } = process.env;
    process.env['PATH'] = `${this.folder}${path.delimiter}${before}`;
    t.teardown(() => (process.env['PATH'] = before));
  }

  /** The calls since the last time, in order, each as its words. */
  calls(): string[][] {
    const text = existsSync(this.#log) ? readFileSync(this.#log, 'utf8') : '';
    writeFileSync(this.#log, '');
    return text
      .split('\0\n')
      .filter((call) => call !== '')
      .map((call) => call.split('\0'));
  }
}
