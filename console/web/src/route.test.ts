import { describe, expect, test } from "vitest";
import { address, parseRoute } from "./route";

describe("parseRoute", () => {
  test.each([
    ["", "board", "", {}],
    ["#", "board", "", {}],
    ["#/", "board", "", {}],
    ["#/apply", "apply", "", {}],
    ["#/apply/", "apply", "", {}],
    ["#/loan/0a1b", "loan", "0a1b", {}],
    ["#/applications?outcome=approve", "applications", "", { outcome: "approve" }],
    ["#/account/bank%3Anostro", "account", "bank:nostro", {}],
    ["#/loan", "unknown", "", {}],
    ["#/loan/a/b", "unknown", "", {}],
    ["#/loan/%E0%A4%A", "unknown", "", {}],
    ["#/freezes/1", "unknown", "", {}],
    ["#/constructor", "unknown", "", {}],
    ["#/nowhere", "unknown", "", {}],
  ])("%j", (hash, page, id, query) => {
    expect(parseRoute(hash)).toEqual({ page, id, query });
  });
});

describe("address", () => {
  test("is read back as it was given", () => {
    for (const id of ["0a1b", "bank:nostro", "a/b", "50%", "?x=1", "#"]) {
      expect(parseRoute(address("account", id, { code: "200" }))).toEqual({
        page: "account",
        id,
        query: { code: "200" },
      });
    }
  });

  test("leaves out what is empty", () => {
    expect(address("board")).toBe("#/");
    expect(address("applications", "", { outcome: "" })).toBe("#/applications");
    expect(address("breaches", "", { state: "open" })).toBe("#/breaches?state=open");
  });
});
