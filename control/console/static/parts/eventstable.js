// Events, the newest first, in words. Kinds and their data are in docs/events.md; one that is not known
// here is told by the names and values of its data.

import { path } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, dateTime, units } from "../lib/format.js";
import { links } from "../lib/router.js";
import { table } from "./card.js";
import { timeElement } from "./time.js";

const LIMIT = 50;
export const NO_EVENTS = ["No events yet", "Notices of the spend limit, and what webhooks are told, appear here."];

/** The newest events of a tenant or an organisation; null where this key may not read them. */
export async function newestEvents(api, whose, signal) {
  const found = await api.find(path(["events"], { ...whose, order: "newest", limit: LIMIT }), signal);
  return found?.events ?? null;
}

/** "69.00 and 5,000 RU": cents are of the installation's currency, which an event does not name. */
function amounts({ monthly_cents: cents, monthly_request_units: most }) {
  return [cents === null ? "" : count(cents / 100), most === null ? "" : units(most)].filter(Boolean).join(" and ");
}

const limitOf = ({ scope, limit }) => `the ${scope}'s limit of ${amounts(limit)} a month`;
const key = ({ label, scope, access }) => `${label}, for ${scope}${access === "read" ? ", reads only" : ""}`;
const SENTENCES = {
  "tenant.created": ({ name }) => name,
  "tenant.deleted": ({ name, restorable_until: until }) => (until ? `${name}; it can be restored until ${dateTime(new Date(until))}` : name),
  "tenant.restored": ({ name }) => name,
  "tenant.purged": ({ name }) => name,
  "tenant.renamed": ({ before, name }) => `${before} → ${name}`,
  "spend.notice": (data) => `${data.percent} % of ${limitOf(data)} is used`,
  "spend.limit_reached": (data) => `${limitOf(data)} is reached; its policy is ${data.policy}`,
  "spend.restored": (data) => `${limitOf(data)} holds nobody up any more`,
  "invoice.closed": ({ number, total_cents: cents, currency }) => `${number}: ${count(cents / 100)} ${currency}`,
  "key.created": key,
  "key.revoked": key,
};

/** An event's data as a sentence. */
export function sentenceOf({ kind, data }) {
  try {
    if (Object.hasOwn(SENTENCES, kind)) return SENTENCES[kind](data);
  } catch {
    // Data of another release: told by its names.
  }
  return Object.entries(data ?? {})
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");
}

/** `hasTenants`: they are of several tenants. */
export function eventsTable(items, { hasTenants = false } = {}) {
  const columns = [["When", "when"], ["What", "what"], ...(hasTenants ? [["Tenant", "what"]] : []), ["Details", "wide quiet"]];
  const tenant = (each) => (each.tenant === null ? "–" : h("a", { href: links.tenant(each.tenant), text: `#${each.tenant}` }));
  return table("Events", columns, items.map((each) => [timeElement(each.at), each.kind, ...(hasTenants ? [tenant(each)] : []), sentenceOf(each)]));
}
