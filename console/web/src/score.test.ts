import { expect, test } from "vitest";
import { sumOf } from "./score";
import { decision } from "./wire";

const read = decision({
  points: 612,
  basePoints: 600,
  baseMicroLogOdds: "-3000000",
  modelMicroLogOdds: "-3100001",
  contributions: [
    { feature: "age", contribution: "-21", source: "card" },
    { feature: "turnover", contribution: "33", source: "card" },
    { feature: "purpose", source: "card" },
    { feature: "turnover", contribution: "-100000", source: "model" },
    { feature: "rule", contribution: "5", source: "policy" },
  ],
});

test("a score is its base and what each feature added", () => {
  const sum = sumOf(read, "card");
  expect(sum).toMatchObject({ base: 600, total: 612, stated: 612, adds: true, neutral: 1 });
  expect(sum.terms.map((term) => term.feature)).toEqual(["turnover", "age"]);
});

test("a sum that does not come out is told", () => {
  const sum = sumOf(read, "model");
  expect(sum).toMatchObject({ total: -3100000, stated: -3100001, adds: false });
});

test("a decision without scores has nothing to add up", () => {
  expect(sumOf(decision({}), "card")).toMatchObject({ terms: [], total: 0, adds: true });
});
