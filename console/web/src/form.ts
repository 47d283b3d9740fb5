// The application form: what a person typed, what is wrong with it, and what is sent. The limits
// mirror those of the lending service, which checks them again; here they only save a round trip.

import { formatMinor, group, parseMajor } from "./money";
import type { Form, Product } from "./wire";

/** The twelve fields as typed, in the order they are asked. */
export interface Draft {
  name: string;
  idNumber: string;
  phone: string;
  businessName: string;
  monthsInBusiness: string;
  monthlyTurnover: string;
  employees: string;
  existingDebt: string;
  amount: string;
  termMonths: string;
  purpose: string;
  consent: boolean;
}

export type FieldName = keyof Draft;
export type Problems = Partial<Record<FieldName, string>>;

export const purposes = ["stock", "equipment", "wages", "rent", "other"] as const;

// As in lending/limits.go, which form.test.ts reads.
export const limits = {
  nameCharacters: 100,
  businessCharacters: 120,
  idCharactersMin: 5,
  idCharacters: 32,
  phoneDigitsMin: 7,
  phoneDigitsMax: 15,
  monthsInBusinessMax: 1_200,
  employeesMax: 100_000,
  lentMax: 10_000_000_000_000, // minor units
};

export const emptyDraft: Draft = {
  name: "",
  idNumber: "",
  phone: "",
  businessName: "",
  monthsInBusiness: "",
  monthlyTurnover: "",
  employees: "",
  existingDebt: "",
  amount: "",
  termMonths: "",
  purpose: "",
  consent: false,
};

/** What is wrong with a draft, by field; empty where it can be sent. */
export function check(draft: Draft, product: Product): Problems {
  const found: [FieldName, string][] = [
    ["name", plainText(draft.name, "your name", limits.nameCharacters)],
    ["idNumber", idNumber(draft.idNumber)],
    ["phone", phone(draft.phone)],
    [
      "businessName",
      plainText(draft.businessName, "the name of the business", limits.businessCharacters),
    ],
    ["monthsInBusiness", whole(draft.monthsInBusiness, limits.monthsInBusinessMax)],
    ["monthlyTurnover", amount(draft.monthlyTurnover, product)],
    ["employees", whole(draft.employees, limits.employeesMax)],
    ["existingDebt", amount(draft.existingDebt, product)],
    ["amount", askedFor(draft.amount, product)],
    ["termMonths", term(draft.termMonths, product)],
    ["purpose", (purposes as readonly string[]).includes(draft.purpose) ? "" : "Choose one."],
    ["consent", draft.consent ? "" : "We cannot decide without your consent."],
  ];
  return Object.fromEntries(found.filter(([, problem]) => problem !== ""));
}

/** The message for a draft that check finds nothing wrong with. */
export function toForm(draft: Draft, product: Product): Form {
  return {
    name: draft.name.trim(),
    idNumber: draft.idNumber.trim(),
    phone: draft.phone.replace(/[ ()-]/g, ""),
    businessName: draft.businessName.trim(),
    monthsInBusiness: Number(draft.monthsInBusiness),
    monthlyTurnover: minorOf(draft.monthlyTurnover, product),
    employees: Number(draft.employees),
    existingDebt: minorOf(draft.existingDebt, product),
    amount: minorOf(draft.amount, product),
    termMonths: Number(draft.termMonths),
    purpose: draft.purpose,
    consent: draft.consent,
  };
}

const wireNames: Record<string, FieldName> = {
  name: "name",
  id_number: "idNumber",
  phone: "phone",
  business_name: "businessName",
  months_in_business: "monthsInBusiness",
  monthly_turnover: "monthlyTurnover",
  employees: "employees",
  existing_debt: "existingDebt",
  amount: "amount",
  term_months: "termMonths",
  purpose: "purpose",
  consent: "consent",
};

const moneyFields: readonly FieldName[] = ["monthlyTurnover", "existingDebt", "amount"];

/**
 * The fields that a refusal of the service is about, each with what it says of it: the service
 * writes "field: given, want limit", parted by semicolons, amounts in minor units. Empty where it
 * names no field, and the sentence stands above the form alone.
 */
export function refusedFields(message: string, product: Product): Problems {
  const found: Problems = {};
  const names = Object.keys(wireNames).join("|");
  const problem = new RegExp(`(?:^|[:;] )(${names}): ([^;]*?), want ([^;]*)`, "g");
  for (const [, name = "", given, limit] of message.matchAll(problem)) {
    const field = wireNames[name]!;
    const money = moneyFields.includes(field);
    const words = (part = "") => (money ? inMajor(part, product.exponent) : part);
    found[field] = `Allowed: ${words(limit)}; given: ${words(given)}.`;
  }
  return found;
}

function inMajor(text: string, exponent: number): string {
  return text.replace(/\d+/g, (digits) => formatMinor(BigInt(digits), exponent));
}

/**
 * About what one instalment comes to: equal payments, monthly, at the product's yearly rate. It is
 * an indication; the contract is computed exactly by the service. Null where it cannot be told.
 */
export function indication(draft: Draft, product: Product): string | null {
  const asked = parseMajor(draft.amount, product.exponent);
  const months = Number(draft.termMonths);
  if (!("minor" in asked) || !product.terms.includes(months)) return null;
  const principal = Number(asked.minor);
  const rate = Number(product.annualRatePercent) / 1_200;
  if (!(principal > 0) || !(rate >= 0)) return null;
  const share = rate === 0 ? 1 / months : rate / (1 - (1 + rate) ** -months);
  const payment = (principal * share) / 10 ** product.exponent;
  return group(Math.round(payment).toString());
}

function minorOf(text: string, product: Product): string {
  const parsed = parseMajor(text, product.exponent);
  return "minor" in parsed ? parsed.minor : "0";
}

function plainText(text: string, what: string, max: number): string {
  const length = [...text.trim()].length;
  if (length === 0) return `Enter ${what}.`;
  return length > max ? `At most ${max} characters; this is ${length}.` : "";
}

function idNumber(text: string): string {
  const plain = text.trim();
  if (plain === "") return "Enter the number of your identity document.";
  if (!/^[A-Za-z0-9-]+$/.test(plain)) return "Letters, digits and hyphens only.";
  const { idCharactersMin: min, idCharacters: max } = limits;
  if (plain.length >= min && plain.length <= max) return "";
  return `${min} to ${max} characters; this is ${plain.length}.`;
}

function phone(text: string): string {
  const plain = text.replace(/[ ()-]/g, "");
  if (plain === "") return "Enter a phone number.";
  if (!/^\+?[0-9]+$/.test(plain)) return "Digits only, with + in front where needed.";
  const digits = plain.replace("+", "").length;
  if (digits < limits.phoneDigitsMin || digits > limits.phoneDigitsMax) {
    return `${limits.phoneDigitsMin} to ${limits.phoneDigitsMax} digits; this has ${digits}.`;
  }
  return "";
}

function whole(text: string, max: number): string {
  const plain = text.trim();
  if (plain === "") return "Enter a number; 0 is allowed.";
  if (!/^[0-9]{1,9}$/.test(plain)) return "A whole number, please.";
  if (Number(plain) > max) return `At most ${group(max.toString())}.`;
  return "";
}

function amount(text: string, product: Product): string {
  const parsed = parseMajor(text, product.exponent);
  if ("problem" in parsed) return parsed.problem;
  const max = BigInt(limits.lentMax);
  return BigInt(parsed.minor) > max ? `At most ${formatMinor(max, product.exponent)}.` : "";
}

function askedFor(text: string, product: Product): string {
  const parsed = parseMajor(text, product.exponent);
  if ("problem" in parsed) return parsed.problem;
  const asked = BigInt(parsed.minor);
  const min = BigInt(product.amountMin || "0");
  const max = BigInt(product.amountMax || "0");
  if (asked < min || asked > max) {
    const [low, high] = [min, max].map((bound) => formatMinor(bound, product.exponent));
    return `Between ${low} and ${high} ${product.currency}.`;
  }
  return "";
}

function term(text: string, product: Product): string {
  return product.terms.includes(Number(text)) && text !== "" ? "" : "Choose one.";
}
