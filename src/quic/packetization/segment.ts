import { CONNECTION_ID, packetForm } from '../../protocol/connection-id.ts';
import { SHARD_HEADER, SHARD_INDEX_AT } from '../../protocol/shard.ts';

/**
 * The size of the first datagram in a run that the kernel joined without saying how (`UdpHandler.segmentOf`). All datagrams of such a run go to one
 * connection, and short headers and shards have its id in the same place: the second datagram begins where the id stands again. A packet with a long
 * header is left whole: quiche takes joined ones of those apart by itself.
 */
export function segmentOf(bytes: Uint8Array, offset: number, length: number): number {
  const form = packetForm(bytes[offset]!);
  if (form === 'long' || length < 2 * (ID_AT + CONNECTION_ID)) return length;
  const run = Buffer.from(bytes.buffer, bytes.byteOffset + offset, length);
  const id = run.subarray(ID_AT, ID_AT + CONNECTION_ID);
  // The first shard of a block carries the packet's own header, with the id once more. What is the parity of one, or of three, does so as well, and a
  // parity shard is longer than to the id's place there.
  const isFirst = form === 'shard' && run[SHARD_INDEX_AT] === 0;
  const again = SHARD_HEADER + ID_AT;
  const behind = isFirst ? again + CONNECTION_ID : form === 'parity' ? again + 1 : ID_AT + CONNECTION_ID;
  const next = run.indexOf(id, behind);
  return next < 0 ? length : next - ID_AT;
}

const ID_AT = 1;
