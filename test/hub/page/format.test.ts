import { test } from 'tap';
import { bytesText, durationText, millisecondsText, niceCeiling, percentText, rateText } from '../../../src/hub/page/format.ts';

test('figures as people read them', async (t) => {
  t.strictSame([0, 1, 125, 156_250, 1.25e9].map(rateText), ['0 bit/s', '8 bit/s', '1.00 Kbit/s', '1.25 Mbit/s', '10.0 Gbit/s']);
  t.strictSame([0, 999, 1_000, 123_456, 5e12].map(bytesText), ['0 B', '999 B', '1.00 KB', '123 KB', '5.00 TB']);
  t.strictSame([null, 0.042, 12.52, 250.4].map(millisecondsText), ['–', '0.04 ms', '12.5 ms', '250 ms']);
  t.strictSame([null, 0, 0.0031, 0.5].map(percentText), ['–', '0 %', '0.31 %', '50 %']);
  t.strictSame([-5, 0, 119_000, 120_000, 7_200_000, 180_000_000].map(durationText), [
    '0 s',
    '0 s',
    '119 s',
    '2 min',
    '2 h',
    '2 days',
  ]);
});

test('an axis ends at 1, 2 or 5 times a power of ten, not below what it shows', async (t) => {
  t.strictSame([0, 0.3, 1, 1.01, 21, 50, 50.1, 999].map(niceCeiling), [1, 0.5, 1, 2, 50, 50, 100, 1_000]);
});
