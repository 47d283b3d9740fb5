// What may be shown as good, and for how long. A board is news, and news grows old: an invariant
// holds only as long as somebody keeps checking it, and the browser knows that only as long as it
// hears from the node. So age is counted here, live, from the moment a board arrived, and nothing
// is ever green by silence. Bad news does not expire: what was broken stays marked as broken.

import type { Invariant, GuardStatus, Sandbox } from "./wire";

/** The node sends a board each second; after this many milliseconds without one it is silent. */
export const silentAfterMillis = 3_000;

/** The guard plants a canary each minute; two missed pulses and some slack is too long. */
export const canaryLateAfterMillis = 150_000;

/** The node reads a trail's head each second; one that is older than this is not news. */
export const headLateAfterMillis = 5_000;

export type Tone = "good" | "bad" | "warn" | "unknown";

export interface Shown {
  tone: Tone;
  word: string; // what a tile says, so that colour is never the only sign
}

/** How long ago the last board arrived, in milliseconds of the browser's monotonic clock. */
export type Silence = number;

export function isSilent(silence: Silence): boolean {
  return !(silence <= silentAfterMillis);
}

/** The age of an instant the node gave an age for, as of now. */
export function ageNow(ageMillis: number, silence: Silence): number {
  return ageMillis + Math.max(0, silence);
}

export function showInvariant(invariant: Invariant, silence: Silence): Shown {
  if (invariant.state === "broken") {
    return { tone: "bad", word: isSilent(silence) ? "broken when last heard" : "broken" };
  }
  if (isSilent(silence)) return { tone: "unknown", word: "not heard" };
  if (invariant.state === "starting") return { tone: "unknown", word: "starting" };
  const age = ageNow(invariant.ageMillis, silence);
  if (invariant.state !== "holds" || age > invariant.staleAfterMillis) {
    return { tone: "unknown", word: "stale" };
  }
  return { tone: "good", word: "holds" };
}

/**
 * The guard as a whole. It is good only where the guard says so and every tile would be good too;
 * a page that is green above and grey below would be lying in one of the two places.
 */
export function showGuard(guard: GuardStatus | undefined, silence: Silence): Shown {
  if (!guard) return { tone: "unknown", word: isSilent(silence) ? "not heard" : "no guard" };
  const tones = guard.invariants.map((invariant) => showInvariant(invariant, silence).tone);
  if (guard.state === "red" || tones.includes("bad")) {
    return { tone: "bad", word: isSilent(silence) ? "red when last heard" : "red" };
  }
  if (isSilent(silence)) return { tone: "unknown", word: "not heard" };
  if (guard.state !== "green" || tones.includes("unknown") || tones.length === 0) {
    return { tone: "unknown", word: "grey" };
  }
  return { tone: "good", word: "green" };
}

/** The canary: a planted fault that the guard must find, so that its silence can be told apart. */
export function showCanary(guard: GuardStatus, silence: Silence): Shown {
  if (isSilent(silence)) return { tone: "unknown", word: "not heard" };
  if (guard.canaryAt === "") return { tone: "unknown", word: "none yet" };
  if (ageNow(guard.canaryAgeMillis, silence) > canaryLateAfterMillis) {
    return { tone: "bad", word: "late" };
  }
  return { tone: "good", word: "found" };
}

/** A program apart from the node. It is good only in a sandbox whose trail was just seen. */
export function showSandbox(box: Sandbox, silence: Silence): Shown {
  if (isSilent(silence)) return { tone: "unknown", word: "not heard" };
  if (box.status !== "running") return { tone: "bad", word: box.status || "unknown" };
  if (box.id === "") return { tone: "unknown", word: "no sandbox" };
  if (box.headAgeMillis < 0 || ageNow(box.headAgeMillis, silence) > headLateAfterMillis) {
    return { tone: "unknown", word: "stale" };
  }
  if (box.refused > 0) return { tone: "warn", word: "refused acts" };
  return { tone: "good", word: "running" };
}
