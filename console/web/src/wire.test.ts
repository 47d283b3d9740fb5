import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as wire from "./wire";

// The messages of a schema file: by name, each field's name in lower camel case and its kind.
function schema(part: string): Map<string, Record<string, string>> {
  const file = new URL(`../../../api/${part}/v1/${part}.proto`, import.meta.url);
  const source = readFileSync(file, "utf8").replace(/\/\/.*$/gm, "");
  const messages = new Map<string, Record<string, string>>();
  for (const [, name = "", body = ""] of source.matchAll(/message (\w+) \{([^}]*)\}/g)) {
    const fields: Record<string, string> = {};
    for (const [, label, type = "", field = ""] of body.matchAll(
      /(repeated |)(map<[^>]+>|[\w.]+) (\w+) = \d+;/g,
    )) {
      const camel = field.replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
      fields[camel] = label ? "list" : kindOf(type);
    }
    messages.set(name, fields);
  }
  return messages;
}

function kindOf(type: string): string {
  if (type.startsWith("map<")) return "map";
  if (type === "string" || type === "bytes") return "text";
  if (type === "bool") return "flag";
  if (/^(u?int(32|64)|double)$/.test(type)) return "count";
  return "message";
}

const table: [string, string, wire.Decoder<unknown>][] = [
  ["lending", "Form", wire.form],
  ["lending", "Reason", wire.reason],
  ["lending", "Decision", wire.decision],
  ["lending", "Application", wire.application],
  ["lending", "ListApplicationsResponse", wire.applications],
  ["lending", "Instalment", wire.instalment],
  ["lending", "Contract", wire.contract],
  ["lending", "LoanEvent", wire.loanEvent],
  ["lending", "Loan", wire.loan],
  ["lending", "ListLoansResponse", wire.loans],
  ["lending", "SubmitResponse", wire.submitted],
  ["lending", "RepayResponse", wire.repaid],
  ["lending", "PayoffResponse", wire.payoff],
  ["lending", "ReplayResponse", wire.replayed],
  ["lending", "Product", wire.product],
  ["lending", "ProductsResponse", wire.products],
  ["ledger", "Account", wire.account],
  ["ledger", "Transfer", wire.transfer],
  ["ledger", "Balance", wire.balance],
  ["ledger", "ClassTotal", wire.classTotal],
  ["ledger", "FreezeState", wire.freezeState],
  ["ledger", "ListAccountsResponse", wire.accounts],
  ["ledger", "LookupAccountsResponse", wire.accountsFound],
  ["ledger", "AccountTransfersResponse", wire.transfers],
  ["ledger", "AccountBalancesResponse", wire.balances],
  ["ledger", "ListFreezesResponse", wire.freezes],
  ["guard", "Invariant", wire.invariant],
  ["guard", "StatusResponse", wire.guardStatus],
  ["guard", "Breach", wire.breach],
  ["guard", "ListBreachesResponse", wire.breaches],
  ["evidence", "AuditHead", wire.auditHead],
  ["evidence", "Released", wire.released],
  ["evidence", "Enclave", wire.provedEnclave],
  ["evidence", "Step", wire.step],
  ["evidence", "TraceResponse", wire.traced],
  ["node", "Part", wire.part],
  ["node", "Enclave", wire.enclave],
  ["node", "Sandbox", wire.sandbox],
  ["node", "Board", wire.board],
];

describe("messages match their schema", () => {
  test.each(table)("%s.%s", (part, name, decoder) => {
    const fields = Object.entries(decoder.fields ?? {}).map(([field, d]) => [field, d.kind]);
    expect(Object.fromEntries(fields)).toEqual(schema(part).get(name));
  });
});

describe("decoders", () => {
  test("put back what the wire leaves out", () => {
    const read = wire.instalment({ number: 3, payment: "100" });
    expect(read).toEqual({
      number: 3,
      due: "",
      payment: "100",
      interest: "",
      principal: "",
      balance: "",
      status: "",
    });
    expect(wire.application({}).decision).toBeUndefined();
    expect(wire.board({}).recent).toEqual([]);
  });

  test("read 64-bit integers from strings", () => {
    expect(wire.board({ applications: "120034" }).applications).toBe(120034);
    expect(wire.reason({ contribution: "-41" }).contribution).toBe(-41);
  });

  test("keep amounts as text, whatever their size", () => {
    const most = "340282366920938463463374607431768211455";
    expect(wire.transfer({ amount: most }).amount).toBe(most);
  });

  test.each([
    [wire.form, [], "want a message"],
    [wire.form, { name: 7 }, "name: want text"],
    [wire.form, { consent: "yes" }, "consent: want true or false"],
    [wire.decision, { points: "many" }, "points: want a number"],
    [wire.board, { guard: { invariants: [{ checked: {} }] } }, "guard: invariants: checked: want"],
    [wire.loanEvent, { facts: [] }, "facts: want a map"],
  ])("refuse another type", (decoder: wire.Decoder<unknown>, value: unknown, want) => {
    expect(() => decoder(value)).toThrow(want);
  });
});
