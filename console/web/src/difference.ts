// Two records side by side: every field of either, and where they differ.

export interface Row {
  field: string; // dotted path
  expected: string | undefined; // undefined where the record has no such field
  found: string | undefined;
  differs: boolean;
}

/**
 * The rows of two records given as JSON, expected and found, in the order of their fields. A field
 * differs where the guard says so, or where both have it and the texts differ: what was found also
 * has a time and a place that nobody expected. Null where either is neither empty nor a record.
 */
export function compare(expected: string, found: string, named: readonly string[]): Row[] | null {
  const [left, right] = [flatten(expected), flatten(found)];
  if (!left || !right) return null;
  const fields = [...new Set([...left.keys(), ...right.keys()])];
  return fields.map((field) => {
    const [e, f] = [left.get(field), right.get(field)];
    const says = named.some((name) => name === field || field.startsWith(name + "."));
    const both = e !== undefined && f !== undefined;
    return { field, expected: e, found: f, differs: says || (both && e !== f) };
  });
}

function flatten(json: string): Map<string, string> | null {
  const out = new Map<string, string>();
  if (json.trim() === "") return out;
  try {
    // Amounts of 64 bits and more are kept digit for digit.
    const exact = json.replace(/([:[,]\s*)(-?\d{16,})(?=\s*[,\]}])/g, '$1"$2"');
    const value: unknown = JSON.parse(exact);
    if (typeof value !== "object" || value === null) return null;
    walk(value, "", out);
    return out;
  } catch {
    return null;
  }
}

function walk(value: unknown, path: string, out: Map<string, string>): void {
  if (typeof value !== "object" || value === null) {
    out.set(path, typeof value === "string" ? value : JSON.stringify(value));
    return;
  }
  for (const [name, inner] of Object.entries(value)) {
    walk(inner, path === "" ? name : `${path}.${name}`, out);
  }
}

/** Whether a field of a record holds the id of an account, by the field's name. */
export function isAccount(field: string, value: string): boolean {
  return /(^|[._])(debit|credit)?_?account(_?id)?$/i.test(field) && /^[0-9a-f]{32}$/.test(value);
}

/** The accounts that records name, to offer them for a freeze. */
export function accountsIn(rows: readonly Row[]): string[] {
  const ids = rows.flatMap((row) =>
    [row.found, row.expected].filter((value) => isAccount(row.field, value ?? "")),
  );
  return [...new Set(ids as string[])];
}
