import { MessageChannel } from 'node:worker_threads';
import { test } from 'tap';
import { setPatientTimer } from '../../src/link/patient-timer.ts';

/** Keeps this thread busy, as a program that is stopped is for its timers. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

test('a timer that comes late lets what waits for the process be read, and cancelled by it', async (t) => {
  const { port1, port2 } = new MessageChannel();
  let fired = false;
  const timer = setPatientTimer(() => (fired = true), 20);
  const answered = new Promise<void>((resolve) => {
    port1.once('message', () => {
      timer.cancel();
      resolve();
    });
  });
  port2.postMessage('here all the time');
  block(500);
  await answered;
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.equal(fired, false);
  port1.close();
});

test('it fires late all the same, and in time, and not after cancel', async (t) => {
  const order: string[] = [];
  const late = new Promise<void>((resolve) => setPatientTimer(() => resolve(void order.push('late')), 20));
  const never = setPatientTimer(() => order.push('cancelled'), 10);
  never.cancel();
  block(500);
  await late;
  await new Promise<void>((resolve) => setPatientTimer(() => resolve(void order.push('in time')), 1));
  t.same(order, ['late', 'in time']);
});
