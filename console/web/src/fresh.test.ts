import { describe, expect, test } from "vitest";
import * as fresh from "./fresh";
import { guardStatus, invariant, sandbox } from "./wire";

const tile = (fields: object) =>
  invariant({ name: "conservation", state: "holds", staleAfterMillis: "5000", ...fields });
const guard = (fields: object) =>
  guardStatus({
    state: "green",
    canaryAt: "2026-03-01T10:00:00Z",
    canaryAgeMillis: "1000",
    invariants: [{ state: "holds", staleAfterMillis: "5000" }],
    ...fields,
  });

describe("an invariant", () => {
  test.each([
    ["holds and was just checked", {}, 0, "good", "holds"],
    ["was checked by another's clock a while ago", { ageMillis: "4000" }, 900, "good", "holds"],
    ["grows old between two boards", { ageMillis: "4000" }, 1_001, "unknown", "stale"],
    ["is called stale by the node", { state: "stale" }, 0, "unknown", "stale"],
    ["has not been checked yet", { state: "starting" }, 0, "unknown", "starting"],
    ["has no bound on its age", { staleAfterMillis: "0", ageMillis: "1" }, 0, "unknown", "stale"],
    ["has a state of a newer node", { state: "splendid" }, 0, "unknown", "stale"],
    ["is not heard of", { staleAfterMillis: "60000" }, 3_001, "unknown", "not heard"],
    ["is broken", { state: "broken" }, 0, "bad", "broken"],
    ["was broken before the silence", { state: "broken" }, 60_000, "bad", "broken when last heard"],
  ])("that %s", (_, fields, silence, tone, word) => {
    expect(fresh.showInvariant(tile(fields), silence)).toEqual({ tone, word });
  });

  test("is never good without news, whatever the node said", () => {
    for (const silence of [3_001, 10_000, Infinity, NaN]) {
      expect(fresh.showInvariant(tile({}), silence).tone).not.toBe("good");
      expect(fresh.showGuard(guard({}), silence).tone).not.toBe("good");
      expect(fresh.showCanary(guard({}), silence).tone).not.toBe("good");
    }
  });
});

describe("the guard", () => {
  test.each([
    ["all holds", {}, 0, "good", "green"],
    ["the node says grey", { state: "grey" }, 0, "unknown", "grey"],
    ["the node says nothing", { state: "" }, 0, "unknown", "grey"],
    ["no invariant is watched", { invariants: [] }, 0, "unknown", "grey"],
    ["the node says red", { state: "red" }, 0, "bad", "red"],
    ["one tile is broken", { invariants: [{ state: "broken" }] }, 0, "bad", "red"],
    ["one tile grew old", { invariants: [{ state: "holds" }] }, 1, "unknown", "grey"],
    ["nothing was heard since", {}, 3_001, "unknown", "not heard"],
    ["nothing was heard since red", { state: "red" }, 3_001, "bad", "red when last heard"],
  ])("when %s", (_, fields, silence, tone, word) => {
    expect(fresh.showGuard(guard(fields), silence)).toEqual({ tone, word });
  });

  test("when there is none", () => {
    expect(fresh.showGuard(undefined, 0)).toEqual({ tone: "unknown", word: "no guard" });
  });
});

describe("the canary", () => {
  test.each([
    ["was found", {}, 0, "good", "found"],
    ["was never planted", { canaryAt: "" }, 0, "unknown", "none yet"],
    ["is late", { canaryAgeMillis: "149000" }, 1_001, "bad", "late"],
  ])("%s", (_, fields, silence, tone, word) => {
    expect(fresh.showCanary(guard(fields), silence)).toEqual({ tone, word });
  });
});

describe("a sandbox", () => {
  const box = (fields: object) => sandbox({ id: "s", status: "running", headAgeMillis: "800", ...fields });
  test.each([
    ["runs", {}, 0, "good", "running"],
    ["refused something", { refused: "2" }, 0, "warn", "refused acts"],
    ["has a head that was never read", { headAgeMillis: "-1" }, 0, "unknown", "stale"],
    ["has a head of a while ago", { headAgeMillis: "4000" }, 1_001, "unknown", "stale"],
    ["is started again", { status: "restarting" }, 0, "bad", "restarting"],
    ["is none", { id: "" }, 0, "unknown", "no sandbox"],
    ["is not heard of", {}, 3_001, "unknown", "not heard"],
  ])("that %s", (_, fields, silence, tone, word) => {
    expect(fresh.showSandbox(box(fields), silence)).toEqual({ tone, word });
  });
});
