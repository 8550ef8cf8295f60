import { QtunnelError } from '../errors.ts';

/** An element: its name with attributes, and its text or its children. */
export type Element = readonly [tag: string, content: string | readonly Element[]];

/** Lines of XML, a line for each element with text. @throws QtunnelError `USAGE` for text that XML cannot carry. */
export function xmlOf([tag, content]: Element, indent = ''): string[] {
  const end = `</${tag.split(' ', 1)[0]}>`;
  if (typeof content === 'string') return [`${indent}<${tag}>${escapedText(content)}${end}`];
  if (content.length === 0) return [`${indent}<${tag}/>`];
  return [`${indent}<${tag}>`, ...content.flatMap((child) => xmlOf(child, `${indent}  `)), `${indent}${end}`];
}

/** In ASCII, so that it is the same in every encoding that a file of it may be given. */
function escapedText(text: string): string {
  if (FORBIDDEN.test(text)) {
    throw new QtunnelError(
      'USAGE',
      `${JSON.stringify(text)} has characters that cannot stand in XML: choose another name for the file`,
    );
  }
  return text.replaceAll(/[&<>"']|[^\x20-\x7E]/gu, (character) => `&#${character.codePointAt(0)};`);
}

/** All control characters but tab and line ends, halves of surrogate pairs, and two more (XML 1.0, section 2.2). */
// oxlint-disable-next-line no-control-regex
const FORBIDDEN = /[\0-\x08\x0B\x0C\x0E-\x1F\uFFFE\uFFFF]|\p{Surrogate}/u;
