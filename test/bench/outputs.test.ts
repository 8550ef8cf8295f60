import { test } from 'tap';
import { hasSocket } from '../../bench/listening.ts';
import { readAb, readWrk } from '../../bench/loads/http.ts';
import { readReport } from '../../bench/loads/iperf.ts';
import { readSockperf } from '../../bench/loads/round-trip.ts';

test('iperf3: what the receiver got', async (t) => {
  const sums = { sum_sent: { bytes: 9, bits_per_second: 72 }, sum_received: { bytes: 8, bits_per_second: 64 } };
  t.same(readReport(JSON.stringify({ end: sums })), { bytes: 8, bytesPerSecond: 8 });
  t.throws(() => readReport(JSON.stringify({ error: 'unable to connect', end: {} })), /unable to connect/);
  t.throws(() => readReport(JSON.stringify({ end: {} })), /no result/);
  t.throws(() => readReport(''), /no output/);
});

test('ab: requests a second, unless some failed', async (t) => {
  t.equal(readAb(AB), 36_300.17);
  t.throws(() => readAb(AB.replace('Failed requests:        0', 'Failed requests:        3')), /3 requests failed/);
  t.throws(() => readAb(`${AB}\nNon-2xx responses:      12`), /12 requests failed/);
  t.throws(() => readAb('apr_socket_recv: Connection reset by peer (104)'), /reset by peer/);
});

test('wrk: requests and bytes a second, whatever their unit, unless some failed', async (t) => {
  t.same(readWrk(wrkReport('    2.00MB')), { requestsPerSecond: 194_000.12, bytesPerSecond: 2 * 2 ** 20 });
  t.equal(readWrk(wrkReport(' 1.50GB')).bytesPerSecond, 1.5 * 2 ** 30);
  t.equal(readWrk(wrkReport(' 10.00KB')).bytesPerSecond, 10 * 2 ** 10);
  t.equal(readWrk(wrkReport(' 7.00B')).bytesPerSecond, 7);
  t.throws(() => readWrk(`  Socket errors: connect 0, read 5, write 0, timeout 0\n${wrkReport('1.00MB')}`), /read 5/);
  t.throws(() => readWrk('unable to connect to 127.0.0.1:1 Connection refused'), /Connection refused/);
});

test('sockperf: the percentiles', async (t) => {
  t.same(readSockperf(SOCKPERF), { p50: 13.369, p99: 115.64 });
  t.throws(() => readSockperf("sockperf: ERROR: Can't connect socket"), /connect socket/);
});

test('a socket is found in /proc/net by port and state', async (t) => {
  t.ok(hasSocket(TCP_TABLE, 8080, 'tcp'));
  t.notOk(hasSocket(TCP_TABLE, 8081, 'tcp'), 'connected, not listening');
  t.notOk(hasSocket(TCP_TABLE, 80, 'tcp'), 'nobody');
  t.ok(hasSocket(UDP_TABLE, 29900, 'udp'));
  t.notOk(hasSocket('', 29900, 'udp'));
});

function wrkReport(transfer: string): string {
  return `Requests/sec: 194000.12\nTransfer/sec: ${transfer}`;
}

const AB = `Complete requests:      181500
Failed requests:        0
Requests per second:    36300.17 [#/sec] (mean)
Time per request:       2.755 [ms] (mean)`;

const SOCKPERF = `sockperf: Summary: Round trip is 36.109 usec
sockperf: ---> percentile 99.999 = 59452.953
sockperf: ---> percentile 99.000 =  115.640
sockperf: ---> percentile 50.000 =   13.369`;

const TCP_TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:1F91 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0`;

const UDP_TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  11: 00000000000000000000000000000000:74CC 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 0`;
