// Light, dark, or as the system is. The choice is kept in this browser, where it can be.

const key = "surety.theme";
const themes = ["auto", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

export function theme(): Theme {
  const shown = document.documentElement.dataset.theme;
  return themes.find((known) => known === shown) ?? "auto";
}

/** Goes on to the next theme: auto, light, dark, and around. */
export function cycleTheme(): void {
  apply(themes[(themes.indexOf(theme()) + 1) % themes.length]!);
  try {
    localStorage.setItem(key, theme());
  } catch {
    // It holds until the page is reloaded.
  }
}

/** Applies the choice kept from before. */
export function restoreTheme(): void {
  try {
    const kept = localStorage.getItem(key);
    apply(themes.find((known) => known === kept) ?? "auto");
  } catch {
    apply("auto");
  }
}

function apply(next: Theme): void {
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}
