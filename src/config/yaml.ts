import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument, type Document } from 'yaml';
import { QtunnelError } from '../errors.ts';

/** A YAML file as plain objects whose leaves are the text that stands in the file, and a way back to its lines. */
export interface YamlText {
  /** Objects, arrays, strings (numbers and booleans are left as written) and null. */
  readonly plain: unknown;
  /** The line, counted from 1, of the key that ends the path; of the nearest thing above it that exists. */
  lineOf(path: readonly PropertyKey[]): number;
}

/**
 * @param file the name for errors.
 * @throws QtunnelError `CONFIG_INVALID` with file and line where the text is not YAML or a key stands there twice.
 */
export function readYaml(text: string, file: string): YamlText {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false, version: '1.2' });
  const [error] = document.errors;
  if (error !== undefined) {
    throw new QtunnelError('CONFIG_INVALID', `${file}:${lines.linePos(error.pos[0]).line}: ${sentence(error.message)}`);
  }
  return {
    plain: toPlain(document.contents, document, DEEPEST),
    lineOf: (path) => Math.max(1, lines.linePos(offsetOf(document, path)).line),
  };
}

function toPlain(node: unknown, document: Document, depth: number): unknown {
  if (depth === 0) return null;
  if (isAlias(node)) return toPlain(node.resolve(document), document, depth - 1);
  if (isMap(node))
    return Object.fromEntries(node.items.map(({ key, value }) => [keyText(key), toPlain(value, document, depth - 1)]));
  if (isSeq(node)) return node.items.map((item) => toPlain(item, document, depth - 1));
  if (!isScalar(node) || node.value === null) return null;
  // What YAML takes for a number is read by the flag's own parser: a fingerprint may be all digits.
  return typeof node.value === 'number' ? (node.source ?? String(node.value)) : String(node.value);
}

function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const step of path) {
    const container: unknown = isAlias(node) ? node.resolve(document) : node;
    const pair = isMap(container) ? container.items.find(({ key }) => keyText(key) === String(step)) : undefined;
    const next: unknown = isPair(pair) ? pair.key : isSeq(container) ? container.items[Number(step)] : undefined;
    if (next === undefined) break;
    offset = (next as Node).range?.[0] ?? offset;
    node = isPair(pair) ? pair.value : next;
  }
  return offset;
}

function keyText(key: unknown): string {
  return isScalar(key) ? (key.source ?? String(key.value)) : String(key);
}

function sentence(message: string): string {
  const [first = ''] = message.split('\n');
  return first === 'Map keys must be unique' ? 'this key stands here twice; keep one of them' : `not valid YAML: ${first}`;
}

/** Deeper than any file that means something; ends an alias that contains itself. */
const DEEPEST = 8;
