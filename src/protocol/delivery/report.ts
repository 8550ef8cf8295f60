import { CONNECTION_ID, REPORT_TYPE } from '../connection-id.ts';
import type { Hmac } from '../handshake.ts';
import { expand } from './serial.ts';

/**
 * What a receiver of shards tells their sender (docs/PROTOCOL.md, "Reports"):
 *
 *      0       1                   17          23        27         29        32        38        41            44              48
 *      +-------+-------------------+-----------+---------+----------+---------+---------+---------+-------------+-----------------+-----------+
 *      | 0x21  | connection id (16)| number u48| clock   | delay u16| latest  | bytes   | forward | cumulative  | restored, bursts | gap u16, run u16| tag (16)  |
 *      +-------+-------------------+-----------+---------+----------+---------+---------+---------+-------------+-----------------+-----------+
 *
 * A report is not a packet of QUIC's: it has to come at once, whatever windows say, and is authenticated by itself.
 */
export interface Report {
  /** Rises with each report and never begins again; an older one than the last is dropped, so a copy says nothing. */
  readonly number: number;
  /** When the latest shard came, in microseconds of the reporter's clock, modulo 2^32. */
  readonly clock: number;
  /** Milliseconds from then to this report, `MAX_DELAY` for that many and more. */
  readonly delay: number;
  /** The shard that came latest. */
  readonly latest: number;
  /** Bytes of all shards that have come, each counted once, modulo 2^48. */
  readonly bytes: number;
  /** Of the reporter's own shards: those below this one come no more. */
  readonly forward: number;
  /** All shards below this one have come. */
  readonly cumulative: number;
  /** How many shards parity has brought back, and in how many runs of numbers, modulo 2^16 each. */
  readonly restored: number;
  readonly bursts: number;
  /** From `cumulative` on: so many that are missing, so many that have come, and so on; what lies behind is not spoken of. */
  readonly ranges: readonly number[];
}

/** Writes reports to one peer. */
export class ReportWriter {
  readonly #hmac: Hmac;
  readonly #key: Uint8Array;
  readonly #peerId: Uint8Array;

  /** `key` is the one that the peer gave out for this. */
  constructor(hmac: Hmac, key: Uint8Array, peerId: Uint8Array) {
    this.#hmac = hmac;
    this.#key = key;
    this.#peerId = peerId;
  }

  /** Writes a report to the beginning of `into` and returns its length; `into` has room for `MAX_REPORT`. */
  write(report: Report, into: Uint8Array): number {
    into[0] = REPORT_TYPE;
    into.set(this.#peerId, 1);
    writeNumber(into, NUMBER, 6, report.number);
    writeNumber(into, CLOCK, 4, report.clock);
    writeNumber(into, DELAY, 2, Math.min(Math.round(report.delay * DELAY_UNITS), 0xffff));
    writeNumber(into, LATEST, 3, report.latest);
    writeNumber(into, BYTES, 6, report.bytes);
    writeNumber(into, FORWARD, 3, report.forward);
    writeNumber(into, CUMULATIVE, 3, report.cumulative);
    writeNumber(into, RESTORED, 2, report.restored);
    writeNumber(into, BURSTS, 2, report.bursts);
    let at = RANGES;
    for (const length of report.ranges) {
      writeNumber(into, at, 2, length);
      at += 2;
    }
    into.set(this.#hmac(this.#key, into.subarray(0, at)).subarray(0, TAG), at);
    return at + TAG;
  }
}

/** Reads the reports of one peer. */
export class ReportReader {
  readonly #hmac: Hmac;
  readonly #key: Uint8Array;
  #number = 0;

  /** `key` is the one that this side gave out. */
  constructor(hmac: Hmac, key: Uint8Array) {
    this.#hmac = hmac;
    this.#key = key;
  }

  /**
   * The report in `bytes[offset … offset + length)`; null for what is none, was not written by the peer, or is not newer than the last. `sent` is the number
   * of this side's next shard, `received` that of the peer's: the numbers of the report are near to them.
   */
  read(bytes: Uint8Array, offset: number, length: number, sent: number, received: number): Report | null {
    const end = length - TAG;
    if (end < RANGES || (end - RANGES) % 4 !== 0) return null;
    const report = bytes.subarray(offset, offset + length);
    const number = readNumber(report, NUMBER, 6);
    if (number <= this.#number || !isTag(this.#hmac(this.#key, report.subarray(0, end)), report, end)) return null;
    this.#number = number;
    const ranges: number[] = [];
    for (let at = RANGES; at < end; at += 2) ranges.push(readNumber(report, at, 2));
    return {
      number,
      clock: readNumber(report, CLOCK, 4),
      delay: readNumber(report, DELAY, 2) / DELAY_UNITS,
      latest: expand(readNumber(report, LATEST, 3), sent),
      bytes: readNumber(report, BYTES, 6),
      forward: expand(readNumber(report, FORWARD, 3), received),
      cumulative: expand(readNumber(report, CUMULATIVE, 3), sent),
      restored: readNumber(report, RESTORED, 2),
      bursts: readNumber(report, BURSTS, 2),
      ranges,
    };
  }
}

/** Takes the same time whichever byte differs. */
function isTag(tag: Uint8Array, bytes: Uint8Array, at: number): boolean {
  let difference = 0;
  for (let i = 0; i < TAG; i++) difference |= tag[i]! ^ bytes[at + i]!;
  return difference === 0;
}

function writeNumber(into: Uint8Array, at: number, size: number, value: number): void {
  let rest = value;
  for (let i = size - 1; i >= 0; i--) {
    into[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

function readNumber(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + bytes[at + i]!;
  return value;
}

const NUMBER = 1 + CONNECTION_ID;
const CLOCK = NUMBER + 6;
const DELAY = CLOCK + 4;
const LATEST = DELAY + 2;
const BYTES = LATEST + 3;
const FORWARD = BYTES + 6;
const CUMULATIVE = FORWARD + 3;
const RESTORED = CUMULATIVE + 3;
const BURSTS = RESTORED + 2;
const RANGES = BURSTS + 2;
const TAG = 16;
/** A millisecond in the units that `delay` travels in. */
const DELAY_UNITS = 100;
/** Milliseconds. */
export const MAX_DELAY = 0xffff / DELAY_UNITS;
/** Pairs of a gap and a run. */
export const MAX_RANGES = 300;
export const MAX_REPORT = RANGES + 4 * MAX_RANGES + TAG;
