/** `1 KiB`, `64 B`: sizes as users give them, in powers of 1024. */
export function formatSize(bytes: number): string {
  const [unit, size] = SIZES.find(([, one]) => bytes >= one && bytes % one === 0) ?? ['B', 1];
  return `${bytes / size} ${unit}`;
}

/** `312 MB/s`, in millions of bytes. */
export function formatRate(bytesPerSecond: number): string {
  return `${megabytes(bytesPerSecond)} MB/s`;
}

/** Millions of bytes: `3043`, `312`, `31.2`, `0.31`. */
export function megabytes(bytes: number): string {
  return withDigits(bytes / 1e6, 3);
}

export function formatMilliseconds(value: number): string {
  return `${milliseconds(value)} ms`;
}

/** `0.021`, `3.523`, `24.56`, `152.1`. */
export function milliseconds(value: number): string {
  return withDigits(value, 4);
}

/** At most so many digits, and all of those before the point. */
function withDigits(value: number, digits: number): string {
  const before = value < 1 ? 1 : Math.floor(Math.log10(value)) + 1;
  return value.toFixed(Math.max(0, digits - before));
}

/** `40 s`, `3 min`. */
export function formatSeconds(seconds: number): string {
  return seconds < 100 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

const SIZES = [
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
] as const;
