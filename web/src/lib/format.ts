// Numbers and times as people read them, in their language.

import { language, words } from '../words';

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
];

export function dateTime(rfc3339: string): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: 'medium', timeStyle: 'medium' }).format(
    new Date(rfc3339),
  );
}

/** Seconds since 1970, as a clock shows them. */
export function clock(atS: number): string {
  return new Intl.DateTimeFormat(language.value, { timeStyle: 'medium', hourCycle: 'h23' }).format(atS * 1000);
}

/** How long ago, or in how long where it is negative. */
export function ago(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => Math.abs(ms) >= size) ?? ['second', 1000];
  return new Intl.RelativeTimeFormat(language.value, { numeric: 'auto' }).format(-Math.round(ms / size), unit);
}

export function number(value: number, fractionDigits = 0): string {
  return new Intl.NumberFormat(language.value, {
    minimumFractionDigits: fractionDigits,
    maximumFractionDigits: fractionDigits,
  }).format(value);
}

/** `512 B`, `3.4 MiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  const value = count / 1024 ** step;
  return `${number(value, step > 0 && value < 10 ? 1 : 0)} ${units[step]}`;
}

/** A coordinate: as many digits as tell positions apart. */
export function coordinate(value: number): string {
  return value.toFixed(Math.abs(value) >= 1000 ? 2 : 4);
}

/** A short time: `12 µs`, `3.4 ms`, `1.2 s`. */
export function duration(us: number): string {
  if (us < 1000) return `${us} µs`;
  if (us < 1_000_000) return `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`;
  return `${(us / 1_000_000).toFixed(1)} s`;
}

/** The age of a point: `0.4 s`, `12 s`, `3 min`. */
export function age(ms: number): string {
  const { seconds, minutes, hours } = words.value.units;
  if (ms < 10_000) return `${(Math.max(ms, 0) / 1000).toFixed(1)} ${seconds}`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} ${seconds}`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} ${minutes}`;
  return `${Math.round(ms / 3_600_000)} ${hours}`;
}

/** What a user agent says to people: the program and the system. */
export function client(userAgent: string): string {
  const programs: [RegExp, string][] = [
    [/Edg\//, 'Edge'],
    [/OPR\//, 'Opera'],
    [/SamsungBrowser\//, 'Samsung Internet'],
    [/Firefox\//, 'Firefox'],
    [/Chrom(e|ium)\//, 'Chrome'],
    [/Safari\//, 'Safari'],
  ];
  const systems: [RegExp, string][] = [
    [/Android/, 'Android'],
    [/iPhone|iPad/, 'iOS'],
    [/Windows/, 'Windows'],
    [/Mac OS X/, 'macOS'],
    [/Linux/, 'Linux'],
  ];
  const first = (table: [RegExp, string][]) => table.find(([pattern]) => pattern.test(userAgent))?.[1];
  const [program, system] = [first(programs), first(systems)];
  if (program && system) return `${program}, ${system}`;
  return userAgent === '' ? words.value.unknownProgram : userAgent.slice(0, 60);
}
