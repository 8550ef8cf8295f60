import { setMaxListeners } from 'node:events';
import { type Connection, connect, type Path } from '../../src/measure/paths.ts';

/** Never fires. */
export const GO_ON = new AbortController().signal;
setMaxListeners(0, GO_ON);

/** A way to a port of this machine; `refuse` says which of its connections, from 0 on, do not come about. */
export function pathTo(port: number, refuse: (connection: number) => boolean = () => false): Path {
  let connections = 0;
  return {
    name: 'direct',
    linksLost: 0,
    async connect(signal): Promise<Connection> {
      if (refuse(connections++)) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
      return await connect({ host: '127.0.0.1', port }, signal);
    },
    async close() {},
  };
}
