import os from 'node:os';
import { type Test, test } from 'tap';
import { watchAddresses } from '../../src/udp/address-watch.ts';

/** The machine's addresses as the test says; `look` lets the watch look once. */
function machine(t: Test): { addresses: string[] | null; look: () => void } {
  const state = { addresses: ['192.0.2.1/24'] as string[] | null, look: (): void => {} };
  const { networkInterfaces } = os;
  const { setInterval } = globalThis;
  os.networkInterfaces = () => {
    if (state.addresses === null) throw new Error('uv_interface_addresses returned EMFILE');
    return { eth0: state.addresses.map((cidr) => ({ cidr })) } as unknown as ReturnType<typeof networkInterfaces>;
  };
  globalThis.setInterval = ((look: () => void) => {
    state.look = look;
    return { unref() {} };
  }) as unknown as typeof setInterval;
  t.teardown(() => Object.assign(os, { networkInterfaces }) && Object.assign(globalThis, { setInterval }));
  return state;
}

void test('a change of addresses is told once to all who watch', (t) => {
  const here = machine(t);
  const told = [0, 0];
  const stops = told.map((_, n) => watchAddresses(() => void told[n]!++));
  here.look();
  t.strictSame(told, [0, 0]);
  here.addresses = ['192.0.2.1/24', '198.51.100.1/24'];
  here.look();
  here.look();
  t.strictSame(told, [1, 1]);
  stops[0]!();
  here.addresses = [];
  here.look();
  t.strictSame(told, [1, 2]);
  stops[1]!();
  t.end();
});

void test('a system that does not tell its addresses, for want of descriptors, is asked again', (t) => {
  const here = machine(t);
  let told = 0;
  const stop = watchAddresses(() => void told++);
  here.addresses = null;
  here.look();
  here.addresses = ['192.0.2.1/24'];
  here.look();
  t.equal(told, 0);
  here.addresses = ['198.51.100.1/24'];
  here.look();
  t.equal(told, 1);
  stop();
  t.end();
});
