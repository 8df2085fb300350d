// Events, the newest first: what webhooks are told, in words.

import { path } from "../lib/api.js";
import { table } from "./card.js";
import { timeElement } from "./time.js";

const LIMIT = 50;
export const NO_EVENTS = ["No events yet", "Notices of the spend limit, and what webhooks are told, appear here."];

/** The newest events of a tenant or an organisation; null where this key may not read them. */
export async function newestEvents(api, whose, signal) {
  const found = await api.find(path(["events"], { ...whose, order: "newest", limit: LIMIT }), signal);
  return found?.events ?? null;
}

/** An event's data as words: "percent 75, scope tenant". */
function words(data) {
  return Object.entries(data ?? {})
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");
}

export function eventsTable(items) {
  return table("Events", [["When", "when"], ["What"], ["Details", "wide quiet"]], items.map((each) => [timeElement(each.at), each.kind, words(each.data)]));
}
