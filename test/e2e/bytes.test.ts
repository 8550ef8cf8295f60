import { test } from 'tap';
import { batchUdp } from '../../src/udp/batch.ts';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import { acceptor, dial, ending, receive, receiveAll, receiveSummed, sendSummed } from '../support/tcp.ts';

const TRANSFER = 200 * 1024 * 1024;
/** More than the tunnel's and the kernel's buffers on the way can hold. */
const STALLED_TRANSFER = 64 * 1024 * 1024;

for (const mode of MODES) {
  test(`${mode}: every byte, end and reset arrives`, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const { port } = await startTunnel(t, mode, backend);

    await t.test('200 MB arrive as they were sent, up and down', async (t) => {
      const application = await dial(t, port);
      const service = await accept();

      const [up, received] = await Promise.all([sendSummed(application, TRANSFER), receiveSummed(service)]);
      t.same(received, up);
      const [down, answered] = await Promise.all([sendSummed(service, TRANSFER), receiveSummed(application)]);
      t.same(answered, down);
    });

    await t.test('both directions at once do not wait for each other', async (t) => {
      const application = await dial(t, port);
      const service = await accept();
      const bytes = TRANSFER / 10;
      const [up, down, atService, atApplication] = await Promise.all([
        sendSummed(application, bytes),
        sendSummed(service, bytes),
        receiveSummed(service),
        receiveSummed(application),
      ]);
      t.same(atService, up);
      t.same(atApplication, down);
    });

    await t.test('the application half closes, the answer comes all the same', async (t) => {
      const application = await dial(t, port);
      application.end('question');
      const service = await accept();
      t.equal((await receiveAll(service)).toString(), 'question');

      service.write('the first half, ');
      t.equal((await receive(application, 16)).toString(), 'the first half, ');
      service.end('the second');
      t.equal((await receiveAll(application)).toString(), 'the second');
    });

    await t.test('the service half closes, the application goes on sending', async (t) => {
      const application = await dial(t, port);
      const service = await accept();
      service.end('hello');
      t.equal((await receiveAll(application)).toString(), 'hello');

      application.write('still here, ');
      t.equal((await receive(service, 12)).toString(), 'still here, ');
      application.end('bye');
      t.equal((await receiveAll(service)).toString(), 'bye');
    });

    await t.test('a connection without a byte opens and closes', async (t) => {
      const application = await dial(t, port);
      const service = await accept();
      application.end();
      t.equal((await receiveAll(service)).length, 0);
      service.end();
      t.equal((await receiveAll(application)).length, 0);
    });

    await t.test('a service that speaks first is heard', async (t) => {
      const application = await dial(t, port);
      const service = await accept();
      service.write('220 ready');
      t.equal((await receive(application, 9)).toString(), '220 ready');
    });

    await t.test('a reset by the application arrives as a reset', async (t) => {
      const application = await dial(t, port);
      application.write('x');
      const service = await accept();
      await receive(service, 1);
      application.resetAndDestroy();
      t.equal(await ending(service), 'reset');
    });

    await t.test('a reset by the service arrives as a reset', async (t) => {
      const application = await dial(t, port);
      const service = await accept();
      service.write('x');
      await receive(application, 1);
      service.resetAndDestroy();
      t.equal(await ending(application), 'reset');
    });

    await t.test('a reset after the other side half closed is still a reset', async (t) => {
      const application = await dial(t, port);
      application.end('x');
      const service = await accept();
      await receiveAll(service);
      service.resetAndDestroy();
      t.equal(await ending(application), 'reset');
    });

    await t.test('a reader that does not read stops its own writer and nobody else', async (t) => {
      const [slow, slowService] = [await dial(t, port), await accept()];
      let finished = false;
      const slowSent = sendSummed(slow, STALLED_TRANSFER).finally(() => (finished = true));

      const [other, otherService] = [await dial(t, port), await accept()];
      const [sent, received] = await Promise.all([sendSummed(other, STALLED_TRANSFER), receiveSummed(otherService)]);
      t.same(received, sent);
      t.notOk(finished, 'the tunnel has not taken all that nobody reads');

      const slowReceived = await receiveSummed(slowService);
      t.same(slowReceived, await slowSent);
    });
  });
}

for (const udp of ['dgram', 'batch']) {
  const skip = udp === 'batch' && batchUdp() === null && 'koffi is not installed, or this is not 64-bit Linux';
  test(`-udp=${udp} is what both sides use, and say`, { skip }, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const flags = [`-udp=${udp}`];
    const { port, client, server } = await startTunnel(t, 'quic', backend, { clientFlags: flags, serverFlags: flags });
    t.equal((await client.process.event('link_up'))['udp'], udp);
    t.equal((await server.process.event('link_up'))['udp'], udp);
    const application = await dial(t, port);
    const service = await accept();
    const [sent, received] = await Promise.all([sendSummed(application, TRANSFER / 10), receiveSummed(service)]);
    t.same(received, sent);
  });
}
