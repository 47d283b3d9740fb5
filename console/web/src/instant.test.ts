import { describe, expect, test } from "vitest";
import * as instant from "./instant";

describe("span", () => {
  test.each([
    [-5, "0 s"],
    [0, "0.0 s"],
    [449, "0.4 s"],
    [999, "0.9 s"],
    [1_000, "1 s"],
    [59_999, "59 s"],
    [60_000, "1 min 0 s"],
    [185_000, "3 min 5 s"],
    [3_600_000, "1 h 0 min"],
    [86_400_000, "24 h 0 min"],
    [3 * 86_400_000, "3 days"],
  ])("%i ms is %s", (millis, want) => expect(instant.span(millis)).toBe(want));
});

describe("micros", () => {
  test.each([
    [0, "\u2013"],
    [840, "840 µs"],
    [1_234, "1.23 ms"],
    [12_400, "12.4 ms"],
    [123_400, "123 ms"],
    [1_034_000, "1.03 s"],
  ])("%i is %s", (value, want) => expect(instant.micros(value)).toBe(want));
});

describe("between", () => {
  test.each([
    ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000412Z", "412 µs later"],
    ["2026-03-01T10:00:00.9Z", "2026-03-01T10:00:01.9Z", "1.00 s later"],
    ["2026-03-01T10:00:01Z", "2026-03-01T10:00:00Z", "1.00 s before"],
    ["2026-03-01T10:00:01Z", "2026-03-01T10:00:01Z", "at once"],
    ["", "2026-03-01T10:00:01Z", ""],
    ["yesterday", "2026-03-01T10:00:01Z", ""],
  ])("%s to %s is %s", (from, to, want) => expect(instant.between(from, to)).toBe(want));
});

test("nanoseconds are kept", () => {
  expect(instant.nanos("1970-01-01T00:00:01.000000007Z")).toBe(1_000_000_007n);
  expect(instant.nanos("2026-03-01 10:00")).toBeNull();
});

test("an instant of today shows the time alone, another the day too", () => {
  const noon = new Date(2026, 2, 1, 12, 0, 0);
  expect(instant.clockTime(noon.toISOString(), noon)).toBe("12:00:00");
  expect(instant.clockTime(noon.toISOString(), new Date(2026, 2, 2))).toBe("2026-03-01 12:00:00");
  expect(instant.clockTime("", noon)).toBe("never");
  expect(instant.clockTime("soon", noon)).toBe("never");
});

test("counts, days and bytes", () => {
  expect(instant.count(1234567)).toBe("1,234,567");
  expect(instant.dayNumber(20_513)).toBe("2026-03-01");
  expect(instant.dayNumber(0)).toBe("");
  expect(instant.bytes(512)).toBe("512 B");
  expect(instant.ppm(31_240)).toBe("3.12 %");
  expect(instant.bytes(193_148_518)).toBe("184.2 MiB");
});
