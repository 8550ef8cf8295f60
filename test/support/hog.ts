import { pathToFileURL } from 'node:url';

/** To be preloaded: has a process take 200 MiB of memory at SIGWINCH, and leave them as garbage at the next. */
export const HOG = pathToFileURL('build/test/support/hog-at-signal.js').href;
