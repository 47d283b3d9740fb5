// The words of the book: what an account's class and a transfer's code stand for. The tables are
// those of docs/reference/events.md; book.test.ts holds the classes against it.

export interface ClassName {
  name: string;
  debit: boolean; // its balance grows by debits
  memo: boolean; // off the balance sheet
}

const classes: Record<number, ClassName> = {
  100: { name: "bank (nostro)", debit: true, memo: false },
  110: { name: "disbursement clearing", debit: true, memo: false },
  120: { name: "repayment clearing", debit: true, memo: false },
  200: { name: "loan principal", debit: true, memo: false },
  210: { name: "interest receivable", debit: true, memo: false },
  220: { name: "penalty receivable", debit: true, memo: false },
  300: { name: "customer deposit", debit: false, memo: false },
  310: { name: "customer overpayment liability", debit: false, memo: false },
  320: { name: "deferred fee", debit: false, memo: false },
  400: { name: "interest income", debit: false, memo: false },
  410: { name: "penalty income", debit: false, memo: false },
  420: { name: "fee income", debit: false, memo: false },
  510: { name: "bad-debt expense", debit: true, memo: false },
  520: { name: "recovery income", debit: false, memo: false },
  900: { name: "credit limit (memo)", debit: false, memo: true },
  910: { name: "commitment contra (memo)", debit: true, memo: true },
  920: { name: "drawn (memo)", debit: false, memo: true },
};

export function knownClasses(): [number, ClassName][] {
  return Object.entries(classes).map(([code, name]) => [Number(code), name]);
}

/** The class of an account's code. One that is not known is named by its number. */
export function classOf(code: number): ClassName {
  return classes[code] ?? { name: `class ${code}`, debit: true, memo: false };
}

const transferCodes: Record<number, string> = {
  10: "limit granted",
  11: "limit reserved",
  20: "loan disbursed",
  21: "paid into the account",
  22: "fee",
  30: "interest accrued",
  31: "fee amortised",
  40: "penalty charged",
  50: "repayment received",
  51: "repaid penalty",
  52: "repaid interest",
  53: "repaid principal",
  54: "overpaid",
  60: "limit restored",
  70: "principal written off",
  71: "interest written off",
  72: "penalty written off",
  80: "recovered",
  81: "refunded",
};

export function knownTransferCodes(): [number, string][] {
  return Object.entries(transferCodes).map(([code, words]) => [Number(code), words]);
}

export function transferCode(code: number): string {
  return transferCodes[code] ?? `code ${code}`;
}

/** Totals of either side, in minor units. */
export interface Sides {
  debitsPosted: bigint;
  creditsPosted: bigint;
}

/** The balance on the side where the class grows; negative where the other side is larger. */
export function balanceOf(code: number, sides: Sides): bigint {
  const debit = sides.debitsPosted - sides.creditsPosted;
  return classOf(code).debit ? debit : -debit;
}

/** A kind of event or step as words: "loan.written_off" is "loan written off". */
export function kindWords(kind: string): string {
  return kind.replace(/[._]/g, " ");
}

// The kinds of event that post nothing, so that nothing is asked for them.
const silentKinds = [
  "application.received",
  "application.decided",
  "contract.signed",
  "event.cancelled",
];

/** A business event by what postings are found by. */
export interface Act {
  id: string;
  kind: string;
}

/**
 * The events among the records of a trace, in their order: those of the lending service, each kept
 * as the JSON of an event with its id and kind.
 */
export function actsIn(steps: readonly { part: string; payload: string }[]): Act[] {
  const acts: Act[] = [];
  for (const step of steps) {
    if (step.part !== "lending" || step.payload === "") continue;
    try {
      const { id, kind } = JSON.parse(step.payload);
      if (typeof id === "string" && typeof kind === "string") acts.push({ id, kind });
    } catch {
      // A record that is no event.
    }
  }
  return acts;
}

/** All of the first, and those of the second that are not among them. */
export function joinActs(first: readonly Act[], second: readonly Act[]): Act[] {
  const known = new Set(first.map((act) => act.id));
  return [...first, ...second.filter((act) => !known.has(act.id))];
}

export function mayPost(kind: string): boolean {
  return !silentKinds.includes(kind);
}
