import type { Link, LinkHandler, LinkStream, StreamHandler } from '../../src/link/link.ts';
import { connectOptions, OVER, REQUEST, World } from '../../test/quic/pair.ts';
import type { Case } from './case.ts';

/** A QUIC link over the network in memory: all that the driver and quiche do, without the kernel. */
export async function linkCases(): Promise<Case[]> {
  return [
    await transfer('driver: 256 KiB over one stream', 1, 262_144),
    await transfer('driver: 2 KiB over each of 128 streams', 128, 2_048),
    await transfer('driver: 64 bytes', 1, 64),
  ];
}

async function transfer(name: string, streams: number, each: number): Promise<Case> {
  const { world, client, sink } = await makePair();
  const writers = Array.from({ length: streams }, () => new Writer(client.open(REQUEST)));
  const chunk = new Uint8Array(each).fill(1);
  const run = async () => {
    const goal = sink.received + streams * each;
    for (const writer of writers) writer.write(chunk);
    await world.drive(() => sink.received === goal, 'all bytes');
  };
  return { name, bytes: streams * each, operations: 1, run, close: () => client.close(OVER) };
}

async function makePair(): Promise<{ world: World; client: Link; sink: Sink }> {
  const world = new World();
  const listener = await world.listen();
  const sink = new Sink();
  listener.onLink = (link) => (link.handler = sink);
  const client = await world.until(world.connect(connectOptions()));
  return { world, client, sink };
}

/** Reads everything and counts it. */
class Sink implements LinkHandler {
  received = 0;

  onStream(stream: LinkStream): void {
    stream.handler = { onReadable: () => this.#read(stream), onWritable() {}, onReset() {} };
  }

  onStateChange(): void {}
  onClose(): void {}

  #read(stream: LinkStream): void {
    for (let length = stream.read(INTO); length > 0; length = stream.read(INTO)) this.received += length;
  }
}

/** Writes a chunk, the rest of it when there is room again. */
class Writer implements StreamHandler {
  readonly #stream: LinkStream;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: LinkStream) {
    this.#stream = stream;
    stream.handler = this;
  }

  write(chunk: Uint8Array): void {
    this.#rest = chunk;
    this.onWritable();
  }

  onWritable(): void {
    this.#rest = this.#rest.subarray(this.#stream.write(this.#rest));
  }

  onReadable(): void {}
  onReset(): void {}
}

const INTO = new Uint8Array(65_536);
