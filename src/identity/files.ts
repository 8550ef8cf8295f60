import { randomBytes } from 'node:crypto';
import { constants, mkdirSync } from 'node:fs';
import { copyFile, link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QtunnelError } from '../errors.ts';

export interface PrivateText {
  readonly text: string;
  /** A warning when others than the owner may read the file; otherwise empty. */
  readonly warnings: readonly string[];
}

/**
 * Reads a file in UTF-8; `what` names it in the error.
 * @throws QtunnelError `FILE_UNREADABLE`.
 */
export async function readText(path: string, what: string): Promise<string> {
  return (await readPrivateText(path, what)).text;
}

/** As `readText`, for a file that others should not be able to read. */
export async function readPrivateText(path: string, what: string): Promise<PrivateText> {
  try {
    await using file = await open(path);
    const { mode } = await file.stat();
    return { text: await file.readFile('utf8'), warnings: exposure(path, what, mode) };
  } catch (cause) {
    throw new QtunnelError(
      'FILE_UNREADABLE',
      `The ${what} ${path} cannot be read (${errorCode(cause)}): check the path and its permissions.`,
      {
        cause,
      },
    );
  }
}

/** Windows has no such modes: node makes them up there. */
function exposure(path: string, what: string, mode: number): string[] {
  if (process.platform === 'win32' || (mode & READABLE_BY_OTHERS) === 0) return [];
  return [`The ${what} ${path} can be read by other users; run: chmod 600 ${path}`];
}

/** Creates a directory and those above it, for the owner only; one that is there stays as it is. */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await makeUnlessThere(path);
  } catch (error) {
    // Not by `recursive`: where the kernel says ENOENT for good, as below /proc, Node 20 tries for ever.
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    await makePrivateDirectory(dirname(path));
    await makeUnlessThere(path);
  }
}

/** The same at once. */
export function makePrivateDirectorySync(path: string): void {
  try {
    makeUnlessThereSync(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    makePrivateDirectorySync(dirname(path));
    makeUnlessThereSync(path);
  }
}

async function makeUnlessThere(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
}

function makeUnlessThereSync(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
}

/**
 * A file that is complete on the disk under a temporary name beside its own. It appears under its own name as a whole or not at all.
 * Call `discard` in the end in every case.
 */
export interface StagedFile {
  /** Gives the file its name unless there is one already; whether it did. */
  publish(): Promise<boolean>;
  /** Gives the file its name, in place of the one that may be there. */
  replace(): Promise<void>;
  discard(): Promise<void>;
}

export async function stageFile(path: string, text: string | Uint8Array, mode: number): Promise<StagedFile> {
  const staged = temporaryNameFor(path);
  const discard = () => rm(staged, { force: true });
  try {
    await using file = await open(staged, 'wx', mode);
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await discard();
    throw error;
  }
  return { publish: () => linkOrCopy(staged, path), replace: () => rename(staged, path), discard };
}

/**
 * Takes the file away if it still holds `text`: when somebody has put another one there in the meantime, that one stays.
 */
export async function removeIfUnchanged(path: string, text: string): Promise<void> {
  const aside = temporaryNameFor(path);
  try {
    await rename(path, aside);
    if ((await readText(aside, 'file')) !== text) await linkOrCopy(aside, path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

/** link(2) fails when the name is taken, which makes it the way to let exactly one of several writers win. */
async function linkOrCopy(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to).catch(async (error: unknown) => {
      if (!NO_HARD_LINKS.has(errorCode(error))) throw error;
      await copyFile(from, to, constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The system's name of an error, such as `ENOENT`; of other errors the message. */
export function errorCode(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}

function temporaryNameFor(path: string): string {
  return join(dirname(path), `.qtunnel-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
}

const READABLE_BY_OTHERS = 0o044;
const NO_HARD_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);
