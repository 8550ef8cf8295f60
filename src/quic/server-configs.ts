import type { Config } from '@matrixai/quic/native/index.js';
import { readResumption, TICKET_NAME } from '../protocol/client-hello.ts';
import type { Hmac } from '../protocol/handshake.ts';
import type { LongHeader } from '../protocol/long-header.ts';
import { readInitialCrypto } from './initial-packet.ts';

/**
 * quiche's settings for a server's connections. With early data each ticket is good for one first flight: tickets open with the key of the settings that they were made with, so a connection
 * that comes with a used one is given others, which take no early data and know no tickets (docs/SECURITY.md, "Early data").
 */
export class ServerConfigs {
  readonly #hmac: Hmac;
  readonly #make: (earlyData: boolean) => Config;
  readonly #most: number;
  readonly #plain: Config;
  /** Null where nothing is taken early. */
  #early: Config | null;
  /** Which of its tickets have come, as the number that six bytes of each make. */
  readonly #used = new Set<number>();

  /** Remembers `most` tickets; with one more it makes other settings, with which none of them opens. */
  constructor(hmac: Hmac, takesEarlyData: boolean, make: (earlyData: boolean) => Config, most = MOST_USED) {
    this.#hmac = hmac;
    this.#most = most;
    this.#make = make;
    this.#plain = make(false);
    this.#early = takesEarlyData ? make(true) : null;
  }

  /** For the connection that the datagram at `offset` begins. */
  configFor(bytes: Uint8Array, offset: number, header: LongHeader): Config {
    if (this.#early === null) return this.#plain;
    const resumption = readResumption(readInitialCrypto(this.#hmac, bytes, offset, header));
    // Without its beginning in the first datagram nobody can say which ticket it is.
    if (resumption.kind === 'unknown') return this.#plain;
    if (resumption.kind === 'none') return this.#early;
    return this.#use(resumption.name) ? this.#early : this.#plain;
  }

  /** Whether the ticket has not come before. */
  #use(name: Uint8Array): boolean {
    if (name.length < TICKET_NAME) return false;
    const number = numberOf(name);
    if (this.#used.has(number)) return false;
    if (this.#used.size >= this.#most && !this.#renew()) return false;
    this.#used.add(number);
    return true;
  }

  /** Without other settings the tickets that are remembered still open: no further one is taken then. */
  #renew(): boolean {
    try {
      this.#early = this.#make(true);
    } catch {
      return false;
    }
    this.#used.clear();
    return true;
  }
}

/** From its random part. */
function numberOf(name: Uint8Array): number {
  return Buffer.from(name.buffer, name.byteOffset).readUIntBE(TICKET_NAME - NUMBER, NUMBER);
}

const NUMBER = 6;
/** About 3 MB. Then all clients have one full handshake more. */
const MOST_USED = 65_536;
