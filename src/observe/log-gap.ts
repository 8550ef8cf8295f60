/** Makes of a JSON line what a log consists of. */
export type Format = (line: string) => string;

/** The JSON line that stands in a log where so many are missing. @param where what has become of them; may be empty. */
export function gapLine(missing: number, where = ''): string {
  const msg = `${missing} ${missing === 1 ? 'line is' : 'lines are'} missing here: they could not be written${where}`;
  return `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), event: 'log_gap', lines: missing, msg })}\n`;
}
