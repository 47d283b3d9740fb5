// Amounts as people read and write them. On the wire an amount is a decimal string of minor units,
// up to 128 bits; here it is a bigint, never a floating-point number.

export interface Currency {
  code: string; // three capital letters, or the ledger's number where it is not known
  exponent: number; // decimal digits of the minor unit
}

// The currencies of base/money, by ISO 4217 number, which is also the ledger's number.
const currencies: Record<number, Currency> = Object.fromEntries(
  (
    "AUD 36 2,BDT 50 2,BRL 986 2,CAD 124 2,CHF 756 2,CNY 156 2,EUR 978 2,GBP 826 2,HKD 344 2," +
    "IDR 360 2,INR 356 2,JPY 392 0,KES 404 2,KRW 410 0,KWD 414 3,MYR 458 2,NGN 566 2,PHP 608 2," +
    "PKR 586 2,SGD 702 2,THB 764 2,TWD 901 2,USD 840 2,VND 704 0,ZAR 710 2"
  )
    .split(",")
    .map((row) => row.split(" "))
    .map(([code = "", number, exponent]) => [Number(number), { code, exponent: Number(exponent) }]),
);

/** The currency of a ledger; one that is not known shows its number and minor units. */
export function currencyOfLedger(ledger: number): Currency {
  return currencies[ledger] ?? { code: `ledger ${ledger}`, exponent: 0 };
}

/** The currency with a code; minor units where it is not known. */
export function currencyOfCode(code: string): Currency {
  return Object.values(currencies).find((c) => c.code === code) ?? { code, exponent: 0 };
}

export function knownCurrencies(): [number, Currency][] {
  return Object.entries(currencies).map(([number, currency]) => [Number(number), currency]);
}

/** Minor units from the wire; an absent amount is zero, and what is no amount is null. */
export function minor(text: string): bigint | null {
  if (text === "") return 0n;
  return /^-?[0-9]{1,40}$/.test(text) ? BigInt(text) : null;
}

/** "1,234.50" from 123450 with exponent 2. Negative amounts have a real minus sign. */
export function formatMinor(amount: bigint, exponent: number): string {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(exponent + 1, "0");
  const point = digits.length - exponent;
  const whole = group(digits.slice(0, point));
  return (amount < 0n ? "\u2212" : "") + whole + (exponent > 0 ? "." + digits.slice(point) : "");
}

/** Digits with commas at each thousand. */
export function group(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

export type Parsed = { minor: string } | { problem: string };

/**
 * Reads an amount as a person writes it, in major units: digits, commas or spaces between
 * thousands, at most the currency's decimals. Anything else is a problem said in a sentence.
 */
export function parseMajor(text: string, exponent: number): Parsed {
  const plain = text.trim().replace(/(?<=\d)[, ](?=\d{3}(\D|$))/g, "");
  if (plain === "") return { problem: "Enter an amount." };
  if (/^-/.test(plain)) return { problem: "An amount cannot be negative." };
  const match = /^(\d{1,30})(?:\.(\d+))?$/.exec(plain);
  if (!match) return { problem: "Use digits only, for example 12,000 or 12000." };
  const decimals = match[2] ?? "";
  if (decimals.length > exponent) {
    return {
      problem: exponent === 0 ? "Whole amounts only." : `At most ${exponent} decimals.`,
    };
  }
  const digits = match[1] + decimals.padEnd(exponent, "0");
  return { minor: digits.replace(/^0+(?=\d)/, "") };
}
