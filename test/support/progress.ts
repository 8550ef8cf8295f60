/** Says to a person who waits what goes on, with the time since the start. */
export function progress(line: string): void {
  const seconds = Math.round(performance.now() / 1000);
  console.error(`${String(Math.floor(seconds / 60)).padStart(3)}:${String(seconds % 60).padStart(2, '0')} ${line}`);
}
