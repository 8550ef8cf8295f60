import { QtunnelError } from '../../src/errors.ts';
import type { Link, LinkHandler, LinkState, LinkStats, LinkStream } from '../../src/link/link.ts';

/** A link without anything behind it: the test says what happens to it. */
export class FakeLink implements Link {
  readonly transport: Link['transport'];
  readonly id = '0123456789abcdef';
  readonly peer = '192.0.2.1:9001';
  readonly streams = 0;
  state: LinkState = 'up';
  handler: LinkHandler = { onStream() {}, onStateChange() {}, onClose() {} };
  rtt = 5;
  lost = 0;
  /** Why it was closed by its user. */
  closedFor: QtunnelError | null = null;

  constructor(transport: Link['transport'] = 'quic') {
    this.transport = transport;
  }

  open(): LinkStream {
    throw new QtunnelError('LINK_CLOSED', 'A fake link has no streams.');
  }

  drain(): void {
    this.turn('draining');
  }

  close(reason: QtunnelError): void {
    this.closedFor ??= reason;
    this.end(reason);
  }

  stats(): LinkStats {
    const none = Number.NaN;
    return {
      rtt: this.rtt,
      congestionWindow: none,
      packetsSent: 10_000,
      packetsLost: this.lost,
      paritySent: 0,
      shardsRestored: 0,
      datagramsDropped: 0,
      bytesSent: 10,
      bytesReceived: 20,
      deliveryRate: none,
    };
  }

  turn(state: LinkState): void {
    if (this.state === state || this.state === 'closed') return;
    this.state = state;
    this.handler.onStateChange(state);
  }

  end(reason: QtunnelError): void {
    if (this.state === 'closed') return;
    this.turn('closed');
    this.handler.onClose(reason);
  }
}

/** Attempts to connect that the test settles. */
export class FakeConnector {
  readonly attempts: Attempt[] = [];
  readonly #transport: Link['transport'];

  constructor(transport: Link['transport'] = 'quic') {
    this.#transport = transport;
  }

  readonly connect = (signal: AbortSignal): Promise<Link> =>
    new Promise((resolve, reject) => {
      const link = new FakeLink(this.#transport);
      this.attempts.push({ signal, link, succeed: () => resolve(link), fail: (code) => reject(new QtunnelError(code, code)) });
    });

  get last(): Attempt {
    return this.attempts.at(-1)!;
  }
}

export interface Attempt {
  readonly signal: AbortSignal;
  /** What it gives when it succeeds. */
  readonly link: FakeLink;
  readonly succeed: () => void;
  readonly fail: (code: QtunnelError['code']) => void;
}
