import { PathMtu } from '../../protocol/delivery/path-mtu.ts';
import { readProbe, writeProbe } from '../../protocol/delivery/probe.ts';
import type { Hmac } from '../../protocol/handshake.ts';
import type { UdpAddress } from '../../udp/socket.ts';
import type { DirectionKeys } from './packetizer.ts';
import type { DatagramRun } from './run.ts';

export interface MtuProbesParts {
  readonly run: DatagramRun;
  readonly hmac: Hmac;
  readonly peerId: Uint8Array;
  readonly keys: DirectionKeys;
  /** As for `PathMtu`. */
  readonly sizes: readonly number[];
  readonly now: number;
}

/** Sends probes of the path's MTU, and answers the peer's. */
export class MtuProbes {
  readonly #parts: MtuProbesParts;
  readonly #mtu: PathMtu;
  #number = 0;
  /** The peer's probe that is still to be answered. */
  #asked: { size: number; number: number } | null = null;
  #askedNumber = 0;

  constructor(parts: MtuProbesParts) {
    this.#parts = parts;
    this.#mtu = new PathMtu(parts.sizes, parts.now);
  }

  /** Bytes of UDP payload in a full datagram. */
  get size(): number {
    return this.#mtu.size;
  }

  get deadline(): number {
    return this.#asked === null ? this.#mtu.deadline : -Infinity;
  }

  /** Sends what is due. */
  handleTurn(now: number, rtt: number, to: UdpAddress): void {
    if (this.#asked !== null) this.#send({ ...this.#asked, isAnswer: true }, to);
    this.#asked = null;
    const size = this.#mtu.poll(now, rtt);
    if (size > 0) this.#send({ size, number: ++this.#number, isAnswer: false }, to);
  }

  /** Takes a probe or an answer in. Returns whether the peer wrote it just now; of copies that anybody may send nothing comes. */
  handleProbe(bytes: Uint8Array, offset: number, length: number, now: number): boolean {
    const { hmac, keys } = this.#parts;
    const probe = readProbe(bytes, offset, length, hmac, keys.fromPeer);
    if (probe === null) return false;
    if (probe.isAnswer) return probe.number === this.#number && this.#mtu.handleAnswer(probe.size, now);
    if (probe.number <= this.#askedNumber) return false;
    this.#askedNumber = probe.number;
    this.#asked = probe;
    return true;
  }

  /** Nothing comes through. Returns whether the size has changed. */
  handleBlackHole(now: number): boolean {
    return this.#mtu.handleBlackHole(now);
  }

  #send(probe: { size: number; number: number; isAnswer: boolean }, to: UdpAddress): void {
    const { run, hmac, peerId, keys } = this.#parts;
    run.sendAlone((into) => writeProbe(probe, peerId, hmac, keys.toPeer, into), to);
  }
}
