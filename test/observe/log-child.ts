import { once } from 'node:events';
import { createLog } from '../../src/observe/log.ts';

/** Logs `one`, waits for a line on standard input, logs `two`, and ends: `node log-child.js LOGTO FORMAT`. */
const [logto = '', format] = process.argv.slice(2);
const { log, close } = await createLog({ logto, logLevel: 'info', logFormat: format === 'pretty' ? 'pretty' : 'json' });
log.info('one');
await once(process.stdin, 'data');
log.info('two');
await close();
process.stdin.destroy();
