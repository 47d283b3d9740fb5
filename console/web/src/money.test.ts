import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as money from "./money";

test("the currencies are those of base/money", () => {
  const file = new URL("../../../base/money/currency.go", import.meta.url);
  const rows = readFileSync(file, "utf8").matchAll(/\{"([A-Z]{3})", (\d+), (\d)\}/g);
  const known = [...rows].map(([, code, number, exponent]) => [
    Number(number),
    { code, exponent: Number(exponent) },
  ]);
  expect(Object.fromEntries(known)).toEqual(Object.fromEntries(money.knownCurrencies()));
  expect(known.length).toBeGreaterThan(20);
});

describe("formatMinor", () => {
  test.each([
    ["0", 2, "0.00"],
    ["1", 2, "0.01"],
    ["99", 2, "0.99"],
    ["100", 2, "1.00"],
    ["123450", 2, "1,234.50"],
    ["100000000", 2, "1,000,000.00"],
    ["-5", 2, "\u22120.05"],
    ["-123456", 2, "\u22121,234.56"],
    ["1234", 0, "1,234"],
    ["1234", 3, "1.234"],
    [
      "340282366920938463463374607431768211455",
      2,
      "3,402,823,669,209,384,634,633,746,074,317,682,114.55",
    ],
  ])("%s with exponent %i is %s", (amount, exponent, want) => {
    expect(money.formatMinor(BigInt(amount), exponent)).toBe(want);
  });
});

describe("parseMajor", () => {
  test.each([
    ["12000", 2, "1200000"],
    ["12,000", 2, "1200000"],
    ["12 000.5", 2, "1200050"],
    [" 0.01 ", 2, "1"],
    ["0", 2, "0"],
    ["007", 0, "7"],
    ["1,234,567.89", 2, "123456789"],
    ["1.234", 3, "1234"],
  ])("%j with exponent %i is %s", (text, exponent, want) => {
    expect(money.parseMajor(text, exponent)).toEqual({ minor: want });
  });

  test.each([
    ["", 2, "Enter an amount"],
    ["-5", 2, "negative"],
    ["1.234", 2, "At most 2 decimals"],
    ["1.5", 0, "Whole amounts"],
    ["1e5", 2, "digits only"],
    ["12,00", 2, "digits only"],
    ["１２", 2, "digits only"],
    ["0x10", 2, "digits only"],
    ["12.", 2, "digits only"],
    ["NaN", 2, "digits only"],
    ["9".repeat(31), 2, "digits only"],
  ])("%j with exponent %i is refused", (text, exponent, want) => {
    const parsed = money.parseMajor(text, exponent);
    expect("problem" in parsed && parsed.problem).toContain(want);
  });

  test("reads back what formatMinor wrote", () => {
    for (const amount of [0n, 1n, 99n, 100n, 123456789n, 10n ** 24n]) {
      const written = money.formatMinor(amount, 2);
      expect(money.parseMajor(written, 2)).toEqual({ minor: amount.toString() });
    }
  });
});

test("minor reads amounts of the wire and nothing else", () => {
  expect(money.minor("")).toBe(0n);
  expect(money.minor("-12")).toBe(-12n);
  for (const not of ["1.5", "abc", "1e3", " 1", "--1"]) expect(money.minor(not)).toBeNull();
});

test("a ledger that is not known shows minor units under its number", () => {
  expect(money.currencyOfLedger(156)).toEqual({ code: "CNY", exponent: 2 });
  expect(money.currencyOfLedger(7)).toEqual({ code: "ledger 7", exponent: 0 });
  expect(money.currencyOfCode("JPY").exponent).toBe(0);
  expect(money.currencyOfCode("XXX")).toEqual({ code: "XXX", exponent: 0 });
});
