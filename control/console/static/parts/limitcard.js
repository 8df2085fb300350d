// A spend limit, of a tenant or of an organisation: how much is used, and a form to change it.

import { path } from "../lib/api.js";
import { h, show, toast } from "../lib/dom.js";
import { field, form, input, integer, Invalid, select, wholeNumber } from "../lib/forms.js";
import { poll } from "../lib/poll.js";
import { card } from "./card.js";
import { isLimited, limitBar } from "./limitbar.js";
import { timeElement } from "./time.js";

const EVERY_MS = 5000;
const POLICIES = [
  ["stop", "Stop statements"],
  ["throttle", "Slow statements down"],
  ["notify", "Only tell"],
];
const STATES = {
  open: "",
  free: "",
  throttled: "Statements are slowed down to keep to the limit.",
  stopped: "The limit is reached: statements fail with SQLSTATE 53400. Reading out and deleting stay possible, slowly.",
};

/** "12.50" → 1250; empty → null. Throws Invalid. */
export function parseCents(each) {
  const text = each.control.value.trim().replace(",", ".");
  if (text === "") return null;
  if (!/^[0-9]{1,12}(\.[0-9]{1,2})?$/.test(text)) throw new Invalid({ [each.name]: "Use an amount, as 20 or 12.50" });
  return Math.round(Number(text) * 100);
}

/** Puts the card into `place` where the gateway has spend limits and the key may see this one. */
export function limitCard(place, context, { what, currency, word }) {
  const { api, signal } = context;
  // Whoever pays sets it: not a tenant's own key.
  const maySet = context.mayWrite && context.me.scope !== "tenant";
  const where = path([...what, "spend-limit"]);
  const bar = limitBar("Spend limit");
  const state = h("p", { class: "notice" });
  const none = h("p", { class: "hint", text: `This ${word} has no limit.` });
  const notices = h("ul", { class: "notices" });
  const money = field("monthly_cents", "Money a month", input({ inputmode: "decimal", class: "number" }), { unit: currency, hint: "Beyond the free allowance. Empty: no limit." });
  const units = field("monthly_request_units", "Request units a month", integer(), { unit: "RU", hint: "All of them, free ones too. Empty: no limit." });
  const policy = field("policy", "When it is reached", select(POLICIES));
  const made = form([money, units, policy], {
    label: "Save limit",
    save: async () => {
      const body = { monthly_cents: parseCents(money), monthly_request_units: wholeNumber(units), policy: policy.control.value };
      try {
        known = await api.send("PUT", where, { body, etag: known.etag });
      } catch (error) {
        if (error.status !== 412) throw error;
        known = await api.read(where, signal);
        fill(known.data);
        throw new Error("Somebody else changed the limit meanwhile. Theirs is in the form now; change it again if it is not right.");
      }
      toast("The limit is saved");
      draw(known.data);
      fill(known.data);
    },
  });
  let known = null; // what the form was filled with, and its ETag

  function fill(limit) {
    money.control.value = limit.monthly_cents === null ? "" : (limit.monthly_cents / 100).toFixed(2);
    units.control.value = limit.monthly_request_units ?? "";
    policy.control.value = limit.policy;
  }

  function draw(limit) {
    show(bar.element, isLimited(limit));
    show(none, !isLimited(limit));
    bar.update(limit, currency);
    const other = limit.limited_by && limit.limited_by !== word ? ` It is the ${limit.limited_by}'s limit that was reached.` : "";
    const text = (STATES[limit.state] ?? "") + other;
    if (state.textContent !== text) state.textContent = text;
    show(state, text !== "");
    const told = limit.notices ?? [];
    if (notices.childElementCount !== told.length) notices.replaceChildren(...told.map((each) => h("li", {}, `${each.percent} % reached `, timeElement(each.at))));
    show(notices, told.length > 0);
  }

  poll(EVERY_MS, signal, async () => {
    const found = await api.read(where, signal).catch((error) => {
      if ([403, 404].includes(error.status)) return null;
      throw error;
    });
    if (found === null) return;
    if (known === null) {
      known = found;
      fill(found.data);
      place.replaceChildren(card("Spend limit", bar.element, none, state, notices, maySet ? made.element : h("p", { class: "hint", text: "A key of the organisation sets it." })));
    }
    draw(found.data);
  });
}
