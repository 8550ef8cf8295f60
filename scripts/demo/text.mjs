/** Colours only where a person looks. */
const colours = process.stdout.isTTY && !process.env.NO_COLOR;

const style = (open) => (text) => (colours ? `\u001b[${open}m${text}\u001b[0m` : text);

export const bold = style(1);
export const dim = style(2);
export const red = style(31);
export const green = style(32);

/** Columns of equal width, the first to the left and the others to the right. */
export function table(head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join('   ');
  return [bold(line(head)), ...rows.map(line)].join('\n');
}
