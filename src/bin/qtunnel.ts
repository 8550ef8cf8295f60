#!/usr/bin/env node
// First of all, and so ahead of the imports: on Linux this overwrites the command line that other users see, with the secret in it.
process.title = 'qtunnel';

const { keepHeapSmall } = await import('../cli/heap.ts');
keepHeapSmall();
const { main } = await import('../cli/main.ts');
process.exitCode = await main(process.argv.slice(2), process.env);
// Whatever is left open by now must not keep the process; standard output has this long to take what was printed.
setTimeout(() => process.exit(), 500).unref();
