// The newest of a list that the gateway gives oldest first, a page at a time.
//
// The first look walks to the end, within a bound; every later one asks for what has come since.

const PAGE = 500;
const PAGES_MAX = 20;
const SHOWN = 50;

const ends = new WeakMap(); // by the signal of the page that looks: how far it has come

/** The newest items, newest first; null where there is no such list for this key. */
export async function newest(api, where, name, signal) {
  const own = ends.get(signal) ?? new Map();
  ends.set(signal, own);
  const known = own.get(name) ?? { after: 0, items: [] };
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const found = await api.find(where({ after: known.after, limit: PAGE }), signal);
    if (found === null) return null;
    const fresh = found[name];
    const byId = new Map([...known.items, ...fresh].map((each) => [each.id, each]));
    known.items = [...byId.values()].slice(-SHOWN);
    // What still runs changes: it is asked for again.
    const running = fresh.find((each) => each.status === "running");
    known.after = running ? running.id - 1 : (fresh.at(-1)?.id ?? known.after);
    if (found.next === null || running) break;
  }
  own.set(name, known);
  return known.items.toReversed();
}
