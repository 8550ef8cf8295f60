/**
 * Writes WebAssembly in its binary form, as much of it as the kernel needs: functions of i32 parameters without a result, over one imported memory. The
 * names of the instructions are the specification's (WebAssembly 2.0, section 5.4).
 */
export interface WasmFunction {
  readonly name: string;
  /** i32, numbered from 0. */
  readonly parameters: number;
  /** Numbered on from the parameters. */
  readonly vectors: number;
  readonly body: readonly number[];
}

/** A module that imports the memory `env.memory` and exports `functions`. */
export function assemble(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(functions.map(type))),
    ...section(2, vector([[...name('env'), ...name('memory'), 0x02, 0x00, 0x01]])),
    ...section(3, vector(functions.map((_, i) => unsigned(i)))),
    ...section(7, vector(functions.map((it, i) => [...name(it.name), 0x00, ...unsigned(i)]))),
    ...section(10, vector(functions.map(code))),
  ]);
}

/** Instructions one after the other. */
export function sequence(...instructions: readonly (readonly number[])[]): number[] {
  return instructions.flat();
}

export const get = (local: number): number[] => [0x20, ...unsigned(local)];
export const set = (local: number): number[] => [0x21, ...unsigned(local)];
export const tee = (local: number): number[] => [0x22, ...unsigned(local)];

export const i32 = {
  const: (value: number): number[] => [0x41, ...signed(value)],
  lessThan: [0x49],
  add: [0x6a],
  and: [0x71],
  shiftLeft: [0x74],
  shiftRight: [0x76],
} as const;

/** Memory is addressed without regard to alignment; `offset` is added to the address. */
export const v128 = {
  load: (offset = 0): number[] => [...simd(0), 0, ...unsigned(offset)],
  store: (offset = 0): number[] => [...simd(11), 0, ...unsigned(offset)],
  and: simd(78),
  xor: simd(81),
} as const;

export const i8x16 = {
  swizzle: simd(14),
  splat: simd(15),
  shiftRight: simd(109),
} as const;

/** Runs `body` for as long as `condition` leaves something other than 0. */
export function loopWhile(condition: readonly number[], body: readonly number[]): number[] {
  const leave = [...condition, IS_ZERO, 0x0d, 1];
  return [0x02, NOTHING, 0x03, NOTHING, ...leave, ...body, 0x0c, 0, END, END];
}

function type({ parameters }: WasmFunction): number[] {
  return [0x60, ...vector(Array.from({ length: parameters }, () => [I32])), 0];
}

function code({ vectors, body }: WasmFunction): number[] {
  const locals = vector([[...unsigned(vectors), V128]]);
  return sized([...locals, ...body, END]);
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...sized(content)];
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function name(text: string): number[] {
  return sized([...new TextEncoder().encode(text)]);
}

function sized(bytes: readonly number[]): number[] {
  return [...unsigned(bytes.length), ...bytes];
}

function simd(opcode: number): number[] {
  return [0xfd, ...unsigned(opcode)];
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const rest = value >> 7;
  const isLast = (rest === 0 && (value & 0x40) === 0) || (rest === -1 && (value & 0x40) !== 0);
  return isLast ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(rest)];
}

const I32 = 0x7f;
const V128 = 0x7b;
const IS_ZERO = 0x45;
const NOTHING = 0x40;
const END = 0x0b;
