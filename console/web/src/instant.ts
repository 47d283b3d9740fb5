// Instants, spans, counts and shares as people read them. The wire's instants are RFC 3339 in UTC
// with nanoseconds; the browser's own clock is used for spans only, since it may be wrong.

/** "14:03:07" in local time, or with the day in front where it is not today. */
export function clockTime(rfc3339: string, now = new Date()): string {
  const at = new Date(rfc3339);
  if (rfc3339 === "" || Number.isNaN(at.getTime())) return "never";
  const time = localTime(at);
  return at.toDateString() === now.toDateString() ? time : `${localDate(at)} ${time}`;
}

/** The same instant in full, in UTC and in local time, for the title of an element. */
export function fullTime(rfc3339: string): string {
  const at = new Date(rfc3339);
  if (rfc3339 === "" || Number.isNaN(at.getTime())) return "";
  return `${rfc3339} (UTC); ${localDate(at)} ${localTime(at)} here`;
}

/** A span since something, coarse enough to be read at a glance: "0.4 s", "12 s", "3 min 5 s". */
export function span(millis: number): string {
  if (millis < 0) return "0 s";
  if (millis < 1_000) return `${(Math.floor(millis / 100) / 10).toFixed(1)} s`;
  const seconds = Math.floor(millis / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** A measured duration with three digits that mean something: "840 µs", "12.4 ms", "1.03 s". */
export function micros(value: number): string {
  if (value <= 0) return "\u2013";
  if (value < 1_000) return `${value} µs`;
  if (value < 10_000) return `${(value / 1_000).toFixed(2)} ms`;
  if (value < 100_000) return `${(value / 1_000).toFixed(1)} ms`;
  if (value < 1_000_000) return `${Math.round(value / 1_000)} ms`;
  return `${(value / 1_000_000).toFixed(2)} s`;
}

/** The span from one instant to another, to the microsecond where it is short. */
export function between(from: string, to: string): string {
  const a = nanos(from);
  const b = nanos(to);
  if (a === null || b === null) return "";
  const delta = Number((b - a) / 1_000n);
  if (delta < 0) return `${micros(-delta)} before`;
  return delta === 0 ? "at once" : `${micros(delta)} later`;
}

/** Nanoseconds since 1970 of an RFC 3339 instant in UTC, null where it is none. */
export function nanos(rfc3339: string): bigint | null {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(rfc3339);
  if (!match) return null;
  const seconds = Date.parse(match[1] + "Z");
  if (Number.isNaN(seconds)) return null;
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}

/** YYYY-MM-DD of a count of days since 1970-01-01, empty for zero. */
export function dayNumber(days: number): string {
  if (days <= 0) return "";
  return new Date(days * 86_400_000).toISOString().slice(0, 10);
}

/** A count with thousands set apart. */
export function count(value: number): string {
  return Math.trunc(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A probability in parts per million as a percentage: "3.12 %". */
export function ppm(value: number): string {
  return `${(value / 10_000).toFixed(2)} %`;
}

/** Bytes in binary units with one decimal: "184.2 MiB". */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

function localDate(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

function localTime(at: Date): string {
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
}

function two(n: number): string {
  return n.toString().padStart(2, "0");
}
