// Who the caller is. A token is kept for this tab alone (sessionStorage) and sent with every call;
// without one the node decides by where the call comes from. A browser that refuses storage keeps
// the token until the page is reloaded.

const key = "surety.token";
const listeners = new Set<() => void>();
let unstored = "";

export function token(): string {
  try {
    return sessionStorage.getItem(key) ?? unstored;
  } catch {
    return unstored;
  }
}

/** Sets the token, or forgets it where it is empty, and tells those who depend on it. */
export function setToken(value: string): void {
  unstored = value;
  try {
    if (value === "") sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // Kept in unstored alone.
  }
  listeners.forEach((listener) => listener());
}

/** Calls listener after each change until the returned function is called. */
export function onTokenChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The headers that say who is calling. */
export function authorization(): Record<string, string> {
  const value = token();
  // A header takes visible ASCII only; anything else cannot be a token of ours.
  return /^[\x21-\x7e]+$/.test(value) ? { Authorization: `Bearer ${value}` } : {};
}
