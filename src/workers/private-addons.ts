import { closeSync, readFileSync, writeSync } from 'node:fs';
import { libraryC } from '../udp/libc.ts';

/**
 * Makes this thread load its own copy of each native addon whose file `isMeant`. napi-rs keeps one queue for the whole process of the buffers that an
 * addon has done with, and the first thread that has loaded the addon lets go of those of all threads, which in another thread's heap ends the process
 * (`napi_reference_unref`, seen with QUIC's binding under load). A copy has its own.
 */
export function loadPrivately(isMeant: (file: string) => boolean): void {
  const load = process.dlopen;
  process.dlopen = (module: object, file: string, ...flags: unknown[]): void => {
    Reflect.apply(load, process, [module, isMeant(file) ? copyOf(file) : file, ...flags]);
  };
}

/** In memory. The descriptor stays open: the loader takes two files for one that have the same name. */
function copyOf(file: string): string {
  const loaded = libraryC();
  if (loaded === null) return file;
  const create = loaded.libc.func('int memfd_create(const char *, unsigned int)') as unknown as (
    name: string,
    flags: number,
  ) => number;
  const fd = create('qtunnel addon', MFD_CLOEXEC);
  if (fd < 0) throw new Error(`no copy of ${file} could be made (memfd_create: error ${loaded.koffi.errno()})`);
  try {
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return `/proc/self/fd/${fd}`;
}

const MFD_CLOEXEC = 1;
