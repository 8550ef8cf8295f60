import type { QtunnelError } from '../errors.ts';
import type { BpfProgram } from './classic-bpf.ts';

/**
 * A UDP socket as the QUIC driver needs it. Datagrams go out in runs that share a buffer of the socket's own, so that an implementation can
 * hand a whole run to the kernel in one call; they come in as views of a buffer that is reused.
 */
export interface UdpSocket {
  /** The local address; an IP address, `::` or `0.0.0.0` when bound to all. */
  readonly address: UdpAddress;
  /**
   * Where the next run is to be written: at least 65,536 bytes. Another buffer may stand here after each `send`.
   */
  readonly sendBuffer: Uint8Array;
  handler: UdpHandler;
  /** Which implementation this is, for the log. */
  readonly kind: string;
  /** Whether datagrams that are too large for the path are lost, rather than cut into fragments on the way: only then can its MTU be probed. */
  readonly keepsWhole: boolean;

  /**
   * Sends the first `length` bytes of `sendBuffer` as datagrams of `segment` bytes each, of which the last may be shorter; an empty one for 0 and 0. Never throws: a datagram
   * that cannot be sent is lost, as on any network, and `handler.onError` is told.
   */
  send(length: number, segment: number, to: UdpAddress): void;
  /**
   * Has the kernel drop what this program, which sees datagrams with their UDP header, returns 0 for; null for nothing. Returns whether it does. Left out where there is no such thing.
   */
  setFilter?(program: BpfProgram | null): boolean;
  close(): void;
}

export interface UdpAddress {
  /** An IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  /**
   * Of a sender: the address of this machine that its datagram was sent to, and that an answer therefore leaves from. Left out where the socket is bound to one, and
   * where the implementation cannot tell.
   */
  readonly local?: string;
}

/** Whether both are the same peer, asking the same address of this machine. */
export function isSamePeer(a: UdpAddress, b: UdpAddress): boolean {
  return a === b || (a.port === b.port && a.host === b.host && a.local === b.local);
}

export interface UdpHandler {
  /**
   * One datagram in `bytes[offset … offset + length)`, valid during the call only. `from` is the same object for the same address, as far as the
   * socket remembers it.
   */
  onDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void;
  /**
   * The kernel refused a datagram or reported one that came back. For a connected socket `LINK_REFUSED` means that nothing listens at the peer.
   */
  onError(error: QtunnelError): void;
}

export interface UdpOptions {
  /** Address to bind; host '' binds all addresses, IPv6 and IPv4 where the machine has both. */
  readonly bind: UdpAddress;
  /** When given, datagrams come from and go to this peer only. */
  readonly connect?: UdpAddress;
  /** As any program's socket: what is larger than the path's MTU is cut into fragments (`keepsWhole` is false), and the buffers are made for a few datagrams at a time. */
  readonly isPlain?: boolean;
  /** A socket that is bound to `bind` already: its descriptor, which belongs to the new socket from then on. */
  readonly fd?: number;
}

/** @throws QtunnelError `LISTEN_FAILED` when the address cannot be bound, `LINK_REFUSED` when there is no route to the peer. */
export type OpenUdp = (options: UdpOptions) => Promise<UdpSocket>;
