// What a tenant used this month, what it may use, and which statements used it.

import { path } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { poll } from "../lib/poll.js";
import { errorNote } from "../parts/card.js";
import { limitCard } from "../parts/limitcard.js";
import { costCards } from "../parts/costcards.js";
import { causesCard, daysCard, monthCard } from "../parts/usagecards.js";

const EVERY_MS = 15_000;

export function showUsage(body, context) {
  const { api, signal, tenant } = context;
  const month = h("div", { class: "slot" });
  const limit = h("div", { class: "slot limitslot" });
  const causes = h("div", { class: "slot" });
  const days = h("div", { class: "slot wide" });
  const statements = h("div", { class: "slot wide" });
  body.append(month, limit, causes, days, statements);
  const where = path(["tenants", tenant.id, "usage"], { by: "day" });
  let shown = "";
  let drawing = new AbortController();
  poll(
    EVERY_MS,
    signal,
    async () => {
      const usage = await api.get(where, signal);
      const state = JSON.stringify({ ...usage, as_of: null });
      if (state === shown) return;
      const isFirst = shown === "";
      shown = state;
      drawing.abort();
      drawing = new AbortController();
      const isOpen = days.querySelector("details")?.open ?? false;
      month.replaceChildren(monthCard(usage));
      causes.replaceChildren(causesCard(usage));
      days.replaceChildren(daysCard(usage, AbortSignal.any([signal, drawing.signal])));
      if (isOpen) days.querySelector("details").open = true;
      if (isFirst) limitCard(limit, context, { what: ["tenants", tenant.id], currency: usage.currency, word: "tenant" });
      await costCards(statements, context);
    },
    (error) => body.replaceChildren(errorNote(error)),
  );
}
