import { rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { canNotify, serviceManager } from '../../src/service/notify.ts';
import { temporaryFolder } from '../support/files.ts';
import { Manager } from './manager.ts';

const skip = !canNotify() && 'koffi is not there';

for (const kind of ['a path', 'the abstract namespace'] as const) {
  test(`a manager that listens on ${kind} hears of the start, of every interval, and of the end`, { skip }, async (t) => {
    const socket = path.join(temporaryFolder(t), 'notify');
    const address = kind === 'a path' ? socket : `@${socket}`;
    const manager = new Manager(t, address);
    const service = serviceManager({ NOTIFY_SOCKET: address, WATCHDOG_USEC: '20000', WATCHDOG_PID: '7' }, 7);
    service.ready();
    const heard = [await manager.message(), await manager.message(), await manager.message()];
    t.same(heard, ['READY=1', 'WATCHDOG=1', 'WATCHDOG=1']);
    service.stopping();
    let last = await manager.message();
    while (last === 'WATCHDOG=1') last = await manager.message();
    t.equal(last, 'STOPPING=1');
  });
}

test('no sign of life where the watchdog is off or waits for another process', { skip }, async (t) => {
  const address = path.join(temporaryFolder(t), 'notify');
  const manager = new Manager(t, address);
  for (const environment of [{}, { WATCHDOG_USEC: '0' }, { WATCHDOG_USEC: '1', WATCHDOG_PID: '8' }]) {
    const service = serviceManager({ NOTIFY_SOCKET: address, ...environment }, 7);
    service.ready();
    t.equal(await manager.message(), 'READY=1');
    await new Promise((resolve) => setTimeout(resolve, 1));
    service.stopping();
    t.equal(await manager.message(), 'STOPPING=1', JSON.stringify(environment));
  }
});

test('a manager that is gone, an address that is none: nothing happens', { skip }, async (t) => {
  const address = path.join(temporaryFolder(t), 'notify');
  const gone = new Manager(t, address);
  gone.close();
  rmSync(address);
  for (const socket of [address, '', 'vsock:2:1234', '/', `/${'x'.repeat(200)}`]) {
    const service = serviceManager({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000000' });
    t.doesNotThrow(() => {
      service.ready();
      service.stopping();
    });
  }
});
