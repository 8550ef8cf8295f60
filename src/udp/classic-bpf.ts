import { SOL_SOCKET } from './libc.ts';

/** A program in classic BPF (linux/filter.h), which the kernel runs over each datagram of a socket. */
export type BpfProgram = readonly BpfInstruction[];
/** Jumps go over so many of the next instructions. */
export type BpfInstruction = readonly [operation: number, ifTrue: number, ifFalse: number, operand: number];

/** The operations that are used here. */
export const BPF = {
  LOAD_BYTE: 0x30,
  LOAD_WORD: 0x20,
  /** The same, from X on. */
  LOAD_BYTE_AT_X: 0x50,
  LOAD_HALF_AT_X: 0x48,
  LOAD_WORD_AT_X: 0x40,
  SET_X: 0x01,
  COPY_TO_X: 0x07,
  /** To and from the memory of 16 words. */
  STORE: 0x02,
  STORE_X: 0x03,
  RECALL_X: 0x61,
  ADD: 0x04,
  ADD_X: 0x0c,
  MULTIPLY: 0x24,
  MODULO: 0x94,
  SHIFT_RIGHT: 0x74,
  JUMP: 0x05,
  JUMP_IF_EQUAL: 0x15,
  JUMP_IF_EQUAL_X: 0x1d,
  JUMP_IF_GREATER: 0x25,
  JUMP_IF_LESS_NOT: 0x35,
  JUMP_IF_SET: 0x45,
  RETURN: 0x06,
  RETURN_VALUE: 0x16,
} as const;

export const SO_ATTACH_FILTER = 26;
export const SO_DETACH_FILTER = 27;
export const SO_ATTACH_REUSEPORT_CBPF = 51;

/** Attaches a program to a socket, by one of the two options; below 0 when the kernel does not take it. */
export function attachProgram(fd: number, option: number, program: BpfProgram, calls: AttachCalls): number {
  const code = Buffer.alloc(INSTRUCTION * program.length);
  for (const [n, [operation, ifTrue, ifFalse, operand]] of program.entries()) {
    code.writeUInt16LE(operation, INSTRUCTION * n);
    code.writeUInt8(ifTrue, INSTRUCTION * n + 2);
    code.writeUInt8(ifFalse, INSTRUCTION * n + 3);
    code.writeUInt32LE(operand, INSTRUCTION * n + 4);
  }
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length, 0);
  header.writeBigUInt64LE(calls.address(code), 8);
  return calls.setsockopt(fd, SOL_SOCKET, option, header, header.length);
}

interface AttachCalls {
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  address(buffer: Uint8Array): bigint;
}

const INSTRUCTION = 8;
