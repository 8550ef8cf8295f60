/* Figures as people read them. */

/** Of bytes a second, in bits: `1.25 Mbit/s`, as limits are given. */
export function rateText(bytesPerSecond: number): string {
  return `${scaled(bytesPerSecond * 8, ['bit', 'Kbit', 'Mbit', 'Gbit', 'Tbit'])}/s`;
}

/** `12.4 MB` */
export function bytesText(bytes: number): string {
  return scaled(bytes, ['B', 'KB', 'MB', 'GB', 'TB', 'PB']);
}

/** `1,234` */
export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

/** `12.5 ms`, and a dash where nothing was measured. */
export function millisecondsText(ms: number | null): string {
  return ms === null ? '–' : `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

/** Of a share from 0 to 1: `0.25 %`. */
export function percentText(share: number | null): string {
  if (share === null) return '–';
  const percent = share * 100;
  return `${percent === 0 || percent >= 10 ? percent.toFixed(0) : percent.toFixed(2)} %`;
}

/** How long something has lasted: `3 min`. */
export function durationText(ms: number): string {
  const unit = DURATIONS.find(([least]) => ms >= least) ?? [0, 1_000, 's'];
  return `${Math.max(0, Math.floor(ms / unit[1]))} ${unit[2]}`;
}

/** The least number of the form 1, 2 or 5 times a power of ten that is not below `value`: where an axis ends. */
export function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}

function scaled(value: number, units: readonly string[]): string {
  const power = value < 1_000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  const figure = value / 1_000 ** power;
  const text = power === 0 || figure >= 100 ? figure.toFixed(0) : figure.toPrecision(3);
  return `${text} ${units[power]}`;
}

/** From how many milliseconds on, what is counted, and its name. */
const DURATIONS: readonly (readonly [number, number, string])[] = [
  [172_800_000, 86_400_000, 'days'],
  [7_200_000, 3_600_000, 'h'],
  [120_000, 60_000, 'min'],
];
