// What happened to a tenant: the autoscaler's decisions, events, operations, and changes by people.

import { path } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { poll } from "../lib/poll.js";
import { card, empty, table } from "../parts/card.js";
import { eventsTable, newestEvents, NO_EVENTS } from "../parts/eventstable.js";
import { newest } from "../parts/history.js";
import { timeElement } from "../parts/time.js";

const EVERY_MS = 5000;
const DECISIONS = 30;

export function showActivity(body, { api, tenant, signal }) {
  const of = (...rest) => path(["tenants", tenant.id, ...rest]);
  section(body, signal, "Why it is awake or asleep", async () => {
    const found = await api.find(path(["tenants", tenant.id, "explain"], { decisions: DECISIONS }), signal);
    return found && { items: found.decisions, draw: decisions, nothing: ["No decision yet", "The autoscaler has not had to do anything about this tenant."] };
  });
  section(body, signal, "Events", async () => {
    const items = await newestEvents(api, { tenant: tenant.id }, signal);
    return items && { items, draw: eventsTable, nothing: NO_EVENTS };
  });
  section(body, signal, "Operations", async () => {
    const items = await newest(api, (query) => `${of("operations")}?${new URLSearchParams(query)}`, "operations", signal);
    return items && { items, draw: operations, nothing: ["No operations yet", "Suspending, deleting and restoring are noted here."] };
  });
  section(body, signal, "Changes", async () => {
    const items = await newest(api, (query) => path(["audit"], { tenant: tenant.id, ...query }), "entries", signal);
    return items && { items, draw: changes, nothing: ["No changes yet", "Who changed what is noted here."] };
  });
}

/** A card that follows what `read()` gives; it is not there where that is null. */
function section(body, signal, title, read) {
  const place = h("div", { class: "slot wide" });
  body.append(place);
  let shown = "";
  poll(EVERY_MS, signal, async () => {
    const found = await read();
    if (!found) {
      place.replaceChildren();
      return;
    }
    const state = JSON.stringify(found.items);
    if (state === shown) return;
    shown = state;
    place.replaceChildren(card(title, found.items.length ? found.draw(found.items) : empty(...found.nothing)));
  });
}

function decisions(items) {
  const inputs = (each) => Object.entries(each.inputs).map(([name, value]) => `${name} ${value}`).join(", ");
  return table("Decisions", [["When", "when"], ["What", "what"], ["Why", "wide"], ["On what grounds", "wide quiet"]], items.map((each) => [timeElement(each.at), each.action, each.reason, inputs(each)]));
}

function operations(items) {
  return table("Operations", [["Begun", "when"], ["What", "what"], ["How it went", "wide"], ["Ended", "when"]], items.map((each) => [timeElement(each.started_at), each.kind, each.error ? `${each.status}: ${each.error}` : each.status, timeElement(each.ended_at)]));
}

function changes(items) {
  const text = (each) =>
    Object.entries(each.changes)
      .map(([name, { old, new: now }]) => `${name}: ${spoken(old)} → ${spoken(now)}`)
      .join("; ");
  return table("Changes", [["When", "when"], ["Who", "what"], ["What", "what"], ["Details", "wide quiet"]], items.map((each) => [timeElement(each.at), `${each.key_label || "the gateway"}${each.address ? `, ${each.address}` : ""}`, each.action, text(each)]));
}

function spoken(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
