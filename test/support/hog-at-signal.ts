/** Preloaded into a process that is to have too little memory: takes 200 MiB at SIGWINCH, which has no other meaning for it, and lets go of them at the next. */
let hog: Buffer | null = null;
process.on('SIGWINCH', () => (hog = hog === null ? Buffer.alloc(200 << 20, 1) : null));
