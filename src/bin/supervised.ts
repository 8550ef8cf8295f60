// What `qtunnel -supervise` starts, and no command of its own. The title as in qtunnel.ts.
process.title = 'qtunnel';

const { keepHeapSmall } = await import('../cli/heap.ts');
keepHeapSmall();
const { runSupervised } = await import('../supervise/supervised.ts');
process.exitCode = await runSupervised();
setTimeout(() => process.exit(), 500).unref();
