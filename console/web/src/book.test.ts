import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as book from "./book";
import { balanceOf, classOf, kindWords, knownClasses, mayPost, transferCode } from "./book";

const reference = readFileSync(
  new URL("../../../docs/reference/events.md", import.meta.url),
  "utf8",
);

test("the classes are those of the reference", () => {
  const rows = [...reference.matchAll(/^\| (\d{3}) \| ([^|]+?) \|/gm)];
  expect(rows.length).toBeGreaterThan(15);
  expect(knownClasses().map(([code, known]) => [String(code), known.name])).toEqual(
    rows.map(([, code, name]) => [code, name]),
  );
});

test("every transfer code of the reference has words", () => {
  const legs = [...reference.matchAll(/\d{3} > \d{3}[^;|]*?, (\d\d)\b/g)];
  expect(legs.length).toBeGreaterThan(15);
  for (const [, code] of legs) expect(transferCode(Number(code))).not.toContain("code");
});

test("the kinds that post nothing are those of the reference", () => {
  const rows = [...reference.matchAll(/^\| `([a-z_.]+)` \|(.*)\|$/gm)];
  expect(rows.length).toBeGreaterThan(12);
  for (const [, kind = "", rest = ""] of rows) {
    const postings = rest.split("|").at(-1)!.trim();
    expect([kind, mayPost(kind)]).toEqual([kind, !postings.startsWith("none")]);
  }
});

test("a balance grows on the side of its class", () => {
  const sides = { debitsPosted: 5n, creditsPosted: 8n };
  expect(balanceOf(200, sides)).toBe(-3n);
  expect(balanceOf(300, sides)).toBe(3n);
  expect(classOf(999)).toEqual({ name: "class 999", debit: true, memo: false });
  expect(kindWords("loan.written_off")).toBe("loan written off");
});

test("the events of a trace are those of the lending service", () => {
  const step = (part: string, payload: unknown) => ({ part, payload: JSON.stringify(payload) });
  const acts = book.actsIn([
    step("lending", { id: "01", kind: "limit.reserved" }),
    step("ledger", { number: 7 }),
    step("lending", { id: 1, kind: "limit.reserved" }),
    step("lending", null),
    { part: "lending", payload: "" },
    { part: "lending", payload: "{" },
    step("lending", { id: "02", kind: "loan.disbursed" }),
  ]);
  expect(acts.map((act) => act.id)).toEqual(["01", "02"]);
  const joined = book.joinActs(acts, [
    { id: "02", kind: "loan.disbursed" },
    { id: "03", kind: "loan.repaid" },
  ]);
  expect(joined.map((act) => act.id)).toEqual(["01", "02", "03"]);
});
