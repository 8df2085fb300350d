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
  const { api, signal, mayWrite } = context;
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
      const { data } = await api.send("PUT", where, { body });
      toast("The limit is saved");
      if (data?.used) draw(data);
      fill(body);
      polling.now();
    },
  });
  let isDrawn = false;

  function fill(limit) {
    money.control.value = limit.monthly_cents === null ? "" : (limit.monthly_cents / 100).toFixed(2);
    units.control.value = limit.monthly_request_units ?? "";
    policy.control.value = limit.policy;
  }

  function draw(limit) {
    if (!isDrawn) {
      isDrawn = true;
      place.replaceChildren(card("Spend limit", bar.element, none, state, notices, mayWrite ? made.element : null));
      fill(limit);
    }
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

  const polling = poll(EVERY_MS, signal, async () => {
    const limit = await api.find(where, signal);
    if (limit) draw(limit);
    else place.replaceChildren();
  });
}
