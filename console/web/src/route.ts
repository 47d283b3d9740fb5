// Which page the address names. A page is the part after the hash, so that every link works in a
// copy of the page, needs nothing of the server, and the back button does what it says.

export interface Route {
  page: Page;
  id: string; // of the thing shown, empty for a list
  query: Record<string, string>;
}

const pages = [
  "board",
  "apply",
  "applications",
  "application",
  "loans",
  "loan",
  "breaches",
  "breach",
  "freezes",
  "accounts",
  "account",
  "find",
] as const;
export type Page = (typeof pages)[number] | "unknown";

// Pages of one thing, which make no sense without its id.
const single: readonly Page[] = ["application", "loan", "breach", "account", "find"];

/** The route of a location's hash. What names no page is page "unknown", never an error. */
export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter((part) => part !== "");
  const query = Object.fromEntries(new URLSearchParams(search));
  const name = parts[0] ?? "board";
  const page = pages.find((known) => known === name);
  const id = decode(parts[1] ?? "");
  if (!page || parts.length > 2 || single.includes(page) !== (id !== "")) {
    return { page: "unknown", id: "", query: {} };
  }
  return { page, id, query };
}

/** The address of a page, for a link. */
export function address(page: Page, id = "", query: Record<string, string> = {}): string {
  const path = page === "board" ? "" : page;
  const set = Object.entries(query).filter(([, value]) => value !== "");
  const search = new URLSearchParams(set).toString();
  return `#/${path}${id === "" ? "" : "/" + encodeURIComponent(id)}${search && "?" + search}`;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
