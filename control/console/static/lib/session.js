// The key for as long as this tab is open: it survives a reload of the page, and nothing else.
// It is in no address, no cookie and no other tab; signing out forgets it.

const NAME = "dormouse.key";
let held = null;

/** The key, or null. */
export function kept() {
  try {
    return sessionStorage.getItem(NAME) ?? held;
  } catch {
    return held;
  }
}

export function keep(key) {
  held = key;
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // Storage is denied: then a reload asks again.
  }
}

export function forget() {
  held = null;
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // It was never there.
  }
}
