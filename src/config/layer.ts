import { type ErrorCode, QtunnelError } from '../errors.ts';
import type { Flag, FlagName, FlagShape, Given } from './flags.ts';
import { parseValue } from './values.ts';

/**
 * Values that came from one place: the command line, the environment, a tunnel's entry in a file, or the file's defaults. Settings
 * are settled from a list of layers, the strongest first (settle.ts).
 */
export interface Layer {
  /**
   * Given for several tunnels at once: what means nothing for a tunnel's role is left out for that tunnel. A layer that is meant for
   * one tunnel is refused instead.
   */
  readonly shared: boolean;
  readonly values: ReadonlyMap<FlagName, LayerValue>;
}

export interface LayerValue {
  /** Where it stands, as errors name it: `-listen`, `QTUNNEL_LISTEN`, or `tunnels.yaml:4: listen`. */
  readonly where: string;
  readonly value: unknown;
}

/** The value of `name` in the strongest layer that has it. */
export function given<Name extends FlagName>(
  layers: readonly Layer[],
  name: Name,
): { readonly where: string; readonly value: Given<Extract<Flag, { name: Name }>> } | undefined {
  const found = layers.find(({ values }) => values.has(name))?.values.get(name);
  return found as { where: string; value: Given<Extract<Flag, { name: Name }>> } | undefined;
}

export function withoutValues(layer: Layer, drop: (name: FlagName) => boolean): Layer {
  return { ...layer, values: new Map([...layer.values].filter(([name]) => !drop(name))) };
}

/**
 * Reads one value.
 * @throws QtunnelError with `code`: one sentence that says where, what was expected, and what stands there unless it is secret.
 */
export function readValue(flag: FlagShape, text: string, where: string, code: ErrorCode, folder?: string): LayerValue {
  const parsed = parseValue(flag, text, folder);
  if ('expected' in parsed) throw new QtunnelError(code, refusal(flag, where, parsed.expected, text));
  return { where, value: parsed.value };
}

export function refusal(flag: FlagShape, where: string, expected: string, got: unknown): string {
  return `${where}: expected ${expected}${flag.secret === true ? '' : `, got ${quote(got)}`}`;
}

/** A short piece of somebody's input on one line. */
export function quote(input: unknown): string {
  const text = JSON.stringify(input) ?? String(input);
  return text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text;
}

const LONGEST_QUOTE = 80;
