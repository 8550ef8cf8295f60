import { CONNECTION_ID, MAX_CONNECTION_ID, PARITY_TYPE, SHARD_TYPE } from '../protocol/connection-id.ts';
import { CHECK_AT, type IdCheck } from '../protocol/id-check.ts';
import { BPF, type BpfInstruction, type BpfProgram } from '../udp/classic-bpf.ts';

export interface FilterChecks {
  /** Of the ids that clients may have, one of which is to fit; null where any id will do. */
  readonly clients: readonly IdCheck[] | null;
  /** The same of the ids that this server has issued. */
  readonly own: readonly IdCheck[] | null;
}

/**
 * A program for the kernel that takes what may be a client's, and drops everything else where it comes in, before anybody is woken for it:
 *
 *     a long header      QUIC v1, and the client's id has the check
 *     any other          a packet, shard, report or probe whose id has the check of the server's
 *
 * It never drops what a client sends that has the secret.
 */
export function datagramFilter({ clients, own }: FilterChecks): BpfProgram {
  return resolve([
    [BPF.LOAD_BYTE, PAYLOAD],
    [BPF.JUMP_IF_SET, 0x80, 'long', 'short'],
    'long',
    [BPF.JUMP_IF_SET, 0x40, NEXT, 'drop'],
    [BPF.LOAD_WORD, PAYLOAD + 1],
    [BPF.JUMP_IF_EQUAL, 1, NEXT, 'drop'],
    [BPF.LOAD_BYTE, PAYLOAD + 5],
    [BPF.JUMP_IF_GREATER, MAX_CONNECTION_ID, 'drop', NEXT],
    [BPF.COPY_TO_X, 0],
    ...(clients === null ? TAKE : idOfLength(clients)),
    'short',
    [BPF.JUMP_IF_SET, 0x40, 'own', NEXT],
    [BPF.JUMP_IF_LESS_NOT, PARITY_TYPE + 1, 'drop', NEXT],
    [BPF.JUMP_IF_LESS_NOT, SHARD_TYPE, 'own', 'drop'],
    'own',
    [BPF.SET_X, 0],
    ...(own === null ? TAKE : checked(own, PAYLOAD + 1)),
    'drop',
    [BPF.RETURN, 0],
    'take',
    ...TAKE,
  ]);
}

/** A client's id, behind a destination id whose length is in X. */
function idOfLength(checks: readonly IdCheck[]): readonly Line[] {
  return [[BPF.LOAD_BYTE_AT_X, PAYLOAD + 6], [BPF.JUMP_IF_EQUAL, CONNECTION_ID, NEXT, 'drop'], ...checked(checks, PAYLOAD + 7)];
}

/** Takes the datagram when the id at X + `at` has one of the checks. */
function checked(checks: readonly IdCheck[], at: number): readonly Line[] {
  const lines: Line[] = [[BPF.STORE_X, START]];
  for (const { a, b, c } of checks) {
    lines.push(
      [BPF.LOAD_WORD_AT_X, at],
      [BPF.MULTIPLY, a],
      [BPF.STORE, SUM],
      [BPF.LOAD_WORD_AT_X, at + 4],
      [BPF.MULTIPLY, b],
      [BPF.RECALL_X, SUM],
      [BPF.ADD_X, 0],
      [BPF.ADD, c],
      [BPF.SHIFT_RIGHT, 16],
      [BPF.STORE, SUM],
      [BPF.RECALL_X, START],
      [BPF.LOAD_HALF_AT_X, at + CHECK_AT],
      [BPF.RECALL_X, SUM],
      [BPF.JUMP_IF_EQUAL_X, 0, 'take', NEXT],
      [BPF.RECALL_X, START],
    );
  }
  return [...lines, [BPF.RETURN, 0]];
}

/** Puts distances in the place of labels, all of which are ahead. */
function resolve(lines: readonly Line[]): BpfProgram {
  const places = new Map<string, number>();
  const code: Exclude<Line, string>[] = [];
  for (const line of lines) {
    if (typeof line === 'string') places.set(line, code.length);
    else code.push(line);
  }
  return code.map(([operation, operand, ifTrue = NEXT, ifFalse = NEXT], n): BpfInstruction => {
    const distance = (label: string): number => (label === NEXT ? 0 : places.get(label)! - n - 1);
    return [operation, distance(ifTrue), distance(ifFalse), operand];
  });
}

/** A label, or an instruction: operation, operand, and the labels to go on at. */
type Line = string | readonly [operation: number, operand: number, ifTrue?: string, ifFalse?: string];

const NEXT = '';
const TAKE: readonly Line[] = [[BPF.RETURN, 0xffff_ffff]];
/** The kernel shows it the datagram with its UDP header. */
const PAYLOAD = 8;
/** Places in the program's memory. */
const START = 0;
const SUM = 1;
