import { expect, test } from "vitest";
import { accountsIn, compare } from "./difference";

test("fields that differ are marked, named by the guard or not", () => {
  const rows = compare(
    '{"a":"1","b":{"c":2,"d":null},"e":[1]}',
    '{"a":"1","b":{"c":3,"d":null},"e":[1,2]}',
    ["a"],
  );
  expect(rows).toEqual([
    { field: "a", expected: "1", found: "1", differs: true },
    { field: "b.c", expected: "2", found: "3", differs: true },
    { field: "b.d", expected: "null", found: "null", differs: false },
    { field: "e.0", expected: "1", found: "1", differs: false },
    { field: "e.1", expected: undefined, found: "2", differs: false },
  ]);
});

test("a name covers the fields below it", () => {
  const rows = compare('{"b":{"c":2},"bc":1}', '{"b":{"c":2},"bc":1}', ["b"]);
  expect(rows?.map((row) => row.differs)).toEqual([true, false]);
});

test("a field that one record lacks differs where the guard says so", () => {
  expect(compare("", '{"a":1,"b":2}', ["b"])).toEqual([
    { field: "a", expected: undefined, found: "1", differs: false },
    { field: "b", expected: undefined, found: "2", differs: true },
  ]);
  expect(compare("", "", [])).toEqual([]);
});

test("what is no record is not compared", () => {
  expect(compare("no posting", "{}", [])).toBeNull();
  expect(compare("{}", "7", [])).toBeNull();
  expect(compare("{}", "null", [])).toBeNull();
});

test("amounts of any size keep their digits", () => {
  const most = "340282366920938463463374607431768211455";
  const rows = compare(`{"amount":${most}}`, `{"amount": ${most} ,"x":[${most}]}`, []);
  expect(rows?.map((row) => row.found)).toEqual([most, most]);
});

test("accounts are found by the name of their field", () => {
  const id = (digit: string) => digit.repeat(32);
  const expected = {
    debit_account: id("a"),
    debitAccountId: id("b"),
    credit_account_id: id("c"),
    account: id("d"),
  };
  const found = { ...expected, accounts: id("e"), account_name: id("f"), account: "not an id" };
  const rows = compare(JSON.stringify(expected), JSON.stringify(found), []);
  expect(accountsIn(rows ?? [])).toEqual(["a", "b", "c", "d"].map(id));
});
