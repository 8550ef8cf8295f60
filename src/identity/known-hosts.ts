import { appendFileSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { QtunnelError } from '../errors.ts';
import { errorCode, makePrivateDirectorySync } from './files.ts';
import { formatFingerprint, parseFingerprint } from './fingerprint.ts';

/**
 * Servers' fingerprints as they were seen at first use: a file with lines `host:port SHA256:AB:CD:…`, mode 0600. Empty lines and those
 * that begin with # are comments; a server that has several lines may show any of these certificates.
 *
 * The file is read at each question, so that what the user changes in it counts without a restart. It is only ever appended to, a line
 * in one write, so that several processes can share it. What cannot be written is remembered for as long as the process lives, and tried again at each question.
 */
export class KnownHosts {
  readonly #path: string;
  /** Why the last server asked about is not in the file, for the user; null when it is. */
  problem: string | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Whether the server was known; if not, it is from now on.
   * @param print 64 lower-case hexadecimal digits.
   * @throws QtunnelError `CERT_CHANGED` when another certificate is remembered for it, `CONFIG_INVALID` when its line cannot be read,
   *   `FILE_UNREADABLE`.
   */
  recognise(host: string, port: number, print: string): boolean {
    const server = serverName(host, port);
    const text = this.read();
    const entries = entriesOf(text, server);
    const remembered = entries.map((entry) => this.#fingerprintIn(entry));
    this.problem = null;
    if (remembered.includes(print)) return true;
    if (entries.length > 0) throw this.#changed(server, entries[0]!.line, remembered[0]!, print);
    return this.#remember(
      server,
      print,
      `${text === '' || text.endsWith('\n') ? '' : '\n'}${server} ${formatFingerprint(print)}\n`,
    );
  }

  /**
   * The file's text; empty when there is none.
   * @throws QtunnelError `FILE_UNREADABLE`.
   */
  read(): string {
    try {
      return readFileSync(this.#path, 'utf8');
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return '';
      throw new QtunnelError(
        'FILE_UNREADABLE',
        `The known hosts file ${this.#path} cannot be read (${errorCode(cause)}): correct its permissions, or name another with -known-hosts.`,
        { cause },
      );
    }
  }

  /** Whether the server was known to this process. */
  #remember(server: string, print: string, lines: string): boolean {
    const key = `${this.#path} ${server}`;
    const unsaved = UNSAVED.get(key);
    if (unsaved !== undefined && unsaved !== print) throw changedSince(server, unsaved, print);
    try {
      makePrivateDirectorySync(dirname(this.#path));
      appendFileSync(this.#path, lines, { mode: 0o600 });
      UNSAVED.delete(key);
    } catch (error) {
      UNSAVED.set(key, print);
      this.problem =
        `The fingerprint of ${server} cannot be remembered in ${this.#path} (${errorCode(error)}), so that the next start will trust whoever answers: ` +
        'name a file that can be written with -known-hosts, or give -secret or -pin.';
    }
    return unsaved !== undefined;
  }

  #fingerprintIn({ line, value }: Entry): string {
    try {
      return parseFingerprint(value);
    } catch (cause) {
      throw new QtunnelError(
        'CONFIG_INVALID',
        `${this.#path}, line ${line}: "${value}" is not a SHA-256 fingerprint; correct or remove the line.`,
        {
          cause,
        },
      );
    }
  }

  #changed(server: string, line: number, remembered: string, shown: string): QtunnelError {
    return new QtunnelError(
      'CERT_CHANGED',
      `The certificate of ${server} has changed: ${this.#path}, line ${line}, remembers ${formatFingerprint(remembered)} and the server ` +
        `shows ${formatFingerprint(shown)}; if its certificate was made anew, remove that line and connect again, if not, somebody may be ` +
        'in between.',
    );
  }
}

function changedSince(server: string, remembered: string, shown: string): QtunnelError {
  return new QtunnelError(
    'CERT_CHANGED',
    `The certificate of ${server} has changed since this client first saw it, which was with ${formatFingerprint(remembered)}; the server shows ` +
      `${formatFingerprint(shown)}. If its certificate was made anew, start the client again; if not, somebody may be in between.`,
  );
}

interface Entry {
  /** Counted from 1. */
  readonly line: number;
  readonly value: string;
}

function entriesOf(text: string, server: string): Entry[] {
  return text.split('\n').flatMap((content, index) => {
    const [name, value = ''] = content.trim().split(/\s+/);
    return name?.toLowerCase() === server ? [{ line: index + 1, value }] : [];
  });
}

function serverName(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`.toLowerCase();
}

/** The fingerprints, by file and server, that could not be written. */
const UNSAVED = new Map<string, string>();
