// The arithmetic of an explanation: a score is its base plus what each feature contributed.

import type { Decision, Reason } from "./wire";

export interface Sum {
  base: number;
  terms: Reason[]; // those that count, the heaviest first
  neutral: number; // how many contributed nothing
  total: number; // base + terms, added here
  stated: number; // what the decision says
  adds: boolean; // total = stated
}

/** The sum of one scorer, "card" in points or "model" in millionths of log-odds. */
export function sumOf(decision: Decision, source: "card" | "model"): Sum {
  const card = source === "card";
  const base = card ? decision.basePoints : decision.baseMicroLogOdds;
  const stated = card ? decision.points : decision.modelMicroLogOdds;
  const all = decision.contributions.filter((term) => term.source === source);
  const terms = all
    .filter((term) => term.contribution !== 0)
    .sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const total = terms.reduce((sum, term) => sum + term.contribution, base);
  const neutral = all.length - terms.length;
  return { base, terms, neutral, total, stated, adds: total === stated };
}
