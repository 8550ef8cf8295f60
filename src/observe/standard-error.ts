import { BackgroundWriter } from './background-writer.ts';

/** A log's last resort, in the background: what cannot be written there either is lost. */
export function writeToStderr(text: string): void {
  STDERR.write(text);
}

/** Waits until that is written, or has taken too long. */
export async function closeStderr(): Promise<void> {
  await STDERR.close(LONGEST_CLOSE_MS);
}

const LONGEST_CLOSE_MS = 1000;
const STDERR = new BackgroundWriter(2, () => {});
