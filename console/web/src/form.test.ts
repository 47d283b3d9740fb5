import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { check, emptyDraft, indication, limits, purposes, refusedFields, toForm } from "./form";
import type { Draft } from "./form";
import { form, product as productMessage } from "./wire";

const product = productMessage({
  name: "micro-12",
  currency: "CNY",
  exponent: 2,
  annualRatePercent: "14.4",
  amountMin: "100000",
  amountMax: "5000000",
  terms: [3, 6, 12],
});

const good: Draft = {
  name: " Li Wei ",
  idNumber: "A1234567",
  phone: "+86 138-0000 0000",
  businessName: "Noodles & Co",
  monthsInBusiness: "14",
  monthlyTurnover: "45,000",
  employees: "2",
  existingDebt: "0",
  amount: "12,000.50",
  termMonths: "12",
  purpose: "stock",
  consent: true,
};

test("a form has twelve fields, those of the schema", () => {
  expect(Object.keys(emptyDraft)).toEqual(Object.keys(form.fields ?? {}));
  expect(Object.keys(emptyDraft)).toHaveLength(12);
});

test("the limits are those of the lending service", () => {
  const lending = (name: string) =>
    readFileSync(new URL(`../../../lending/${name}.go`, import.meta.url), "utf8");
  const source = lending("limits");
  for (const [name, value] of Object.entries(limits)) {
    const digits = new RegExp(`\\b${name}\\s+= ([0-9_]+)`).exec(source)?.[1];
    expect([name, Number(digits?.replaceAll("_", ""))]).toEqual([name, value]);
  }
  const listed = /Purposes\(\) \[\]string .*?string\{(.*?)\}/.exec(lending("application"));
  expect(listed?.[1]?.split(", ").map((quoted) => JSON.parse(quoted))).toEqual([...purposes]);
});

test("an empty form has a problem in every field", () => {
  expect(Object.keys(check(emptyDraft, product))).toEqual(Object.keys(emptyDraft));
});

test("a good form has none, and is sent in minor units", () => {
  expect(check(good, product)).toEqual({});
  expect(toForm(good, product)).toEqual({
    name: "Li Wei",
    idNumber: "A1234567",
    phone: "+8613800000000",
    businessName: "Noodles & Co",
    monthsInBusiness: 14,
    monthlyTurnover: "4500000",
    employees: 2,
    existingDebt: "0",
    amount: "1200050",
    termMonths: 12,
    purpose: "stock",
    consent: true,
  });
});

describe("each limit has its sentence", () => {
  const cases: [Partial<Draft>, keyof Draft, string][] = [
    [{ name: "  " }, "name", "Enter your name"],
    [{ name: "x".repeat(101) }, "name", "At most 100 characters; this is 101"],
    [{ idNumber: "A12 345" }, "idNumber", "Letters, digits and hyphens"],
    [{ idNumber: "A1" }, "idNumber", "this is 2"],
    [{ phone: "call me" }, "phone", "Digits only"],
    [{ phone: "12345" }, "phone", "this has 5"],
    [{ businessName: "" }, "businessName", "name of the business"],
    [{ monthsInBusiness: "1.5" }, "monthsInBusiness", "whole number"],
    [{ monthsInBusiness: "-1" }, "monthsInBusiness", "whole number"],
    [{ monthsInBusiness: "1201" }, "monthsInBusiness", "At most 1,200"],
    [{ monthlyTurnover: "much" }, "monthlyTurnover", "digits only"],
    [{ monthlyTurnover: "9".repeat(20) }, "monthlyTurnover", "At most"],
    [{ employees: "100001" }, "employees", "At most 100,000"],
    [{ businessName: "x".repeat(121) }, "businessName", "At most 120 characters"],
    [{ existingDebt: "-5" }, "existingDebt", "negative"],
    [{ amount: "999.99" }, "amount", "Between 1,000.00 and 50,000.00 CNY"],
    [{ amount: "50000.01" }, "amount", "Between"],
    [{ amount: "1.234" }, "amount", "At most 2 decimals"],
    [{ termMonths: "7" }, "termMonths", "Choose"],
    [{ termMonths: "" }, "termMonths", "Choose"],
    [{ purpose: "gambling" }, "purpose", "Choose"],
    [{ consent: false }, "consent", "consent"],
  ];
  test.each(cases)("%j", (change, field, want) => {
    const problems = check({ ...good, ...change }, product);
    expect(Object.keys(problems)).toEqual([field]);
    expect(problems[field]).toContain(want);
  });
});

describe("a refusal of the service is shown at its fields", () => {
  test.each([
    [
      "origination.submit: form: id_number: 3 characters, want 5 to 32 letters, digits or hyphens",
      { idNumber: "Allowed: 5 to 32 letters, digits or hyphens; given: 3 characters." },
    ],
    [
      "form: amount: 1200050, want a multiple of 10000; term_months: 7, want 3 to 24",
      {
        amount: "Allowed: a multiple of 100.00; given: 12,000.50.",
        termMonths: "Allowed: 3 to 24; given: 7.",
      },
    ],
    ["name: 0 characters, want 1 to 100 characters", {
      name: "Allowed: 1 to 100 characters; given: 0 characters.",
    }],
    ["form: shoe_size: 44, want 45", {}],
    ["an application with this idempotency key differs in its form", {}],
    ["money-out is stopped: conservation is broken", {}],
  ])("%j", (message, want) => expect(refusedFields(message, product)).toEqual(want));
});

describe("indication", () => {
  test.each([
    [{}, "1,080"],
    [{ termMonths: "3" }, "4,097"],
    [{ amount: "" }, null],
    [{ amount: "0" }, null],
    [{ termMonths: "7" }, null],
  ])("%j is %s", (change, want) => expect(indication({ ...good, ...change }, product)).toBe(want));

  test("without interest it is the share of a month", () => {
    expect(indication(good, { ...product, annualRatePercent: "0" })).toBe("1,000");
    expect(indication(good, { ...product, annualRatePercent: "" })).toBe("1,000");
    expect(indication(good, { ...product, annualRatePercent: "much" })).toBeNull();
  });
});
