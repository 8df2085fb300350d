// An organisation: what its tenants used together, its limit, its invoices.

import { path } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { bytes, money, units } from "../lib/format.js";
import { poll } from "../lib/poll.js";
import { links } from "../lib/router.js";
import { card, empty, errorNote, pageHead, table } from "../parts/card.js";
import { eventsTable, newestEvents, NO_EVENTS } from "../parts/eventstable.js";
import { invoicesCard } from "../parts/invoicescard.js";
import { limitCard } from "../parts/limitcard.js";
import { causesCard, daysCard, monthCard } from "../parts/usagecards.js";

const EVERY_MS = 15_000;

export async function showOrganisation(main, context) {
  const { api, signal, route } = context;
  const what = ["organisations", route.id];
  let organisation;
  try {
    organisation = await api.get(path(what), signal);
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(pageHead("Organisation"), card("Not there", errorNote(error)));
    context.setTitle("Organisation");
    return;
  }
  const slots = Object.fromEntries(["month", "limit", "causes", "days", "tenants", "invoices", "events"].map((name) => [name, h("div", { class: `slot ${name === "limit" ? "limitslot" : ""}` })]));
  for (const name of ["days", "tenants", "invoices", "events"]) slots[name].classList.add("wide");
  main.replaceChildren(pageHead(organisation.name, { below: h("p", { class: "why", text: `Organisation ${organisation.id} · its months begin in ${organisation.time_zone}` }) }), h("div", { class: "tab usage" }, Object.values(slots)));
  context.setTitle(organisation.name);
  invoicesCard(slots.invoices, context, what);
  poll(EVERY_MS, signal, async () => {
    const events = await newestEvents(api, { organisation: route.id }, signal);
    if (events) slots.events.replaceChildren(card("Events", events.length ? eventsTable(events, { hasTenants: true }) : empty(...NO_EVENTS)));
  });
  let shown = "";
  let drawing = new AbortController();
  poll(
    EVERY_MS,
    signal,
    async () => {
      const usage = await api.get(path([...what, "usage"], { by: "day" }), signal);
      const state = JSON.stringify({ ...usage, as_of: null });
      if (state === shown) return;
      const isFirst = shown === "";
      shown = state;
      drawing.abort();
      drawing = new AbortController();
      slots.month.replaceChildren(monthCard(usage));
      slots.causes.replaceChildren(causesCard(usage));
      slots.days.replaceChildren(daysCard(usage, AbortSignal.any([signal, drawing.signal])));
      slots.tenants.replaceChildren(tenantsCard(usage));
      if (isFirst) limitCard(slots.limit, context, { what, currency: usage.currency, word: "organisation" });
    },
    (error) => slots.month.replaceChildren(card("This month", errorNote(error))),
  );
}

function tenantsCard(usage) {
  const rows = usage.tenants.map((each) => [h("a", { class: "name", href: links.tenant(each.id), text: each.name || String(each.id) }), units(each.request_units), bytes(each.storage_bytes), money(each.cost_micros, usage.currency)]);
  const columns = [["Tenant", "first"], ["Used", "number"], ["Stored", "number"], ["Cost", "number"]];
  const more = usage.next === null ? null : h("p", { class: "hint", text: `The first ${usage.tenants.length} are shown; the API has them all.` });
  return card("Tenants this month", rows.length ? table("Tenants this month", columns, rows) : empty("Nothing used yet this month", "Its tenants appear here once they have been used."), more);
}
