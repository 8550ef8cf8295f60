/** Text that somebody else may have written, for a terminal or a log: line breaks and a terminal's control sequences are shown, not obeyed. */
export function plainText(text: string): string {
  return text.replaceAll(CONTROL, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;
