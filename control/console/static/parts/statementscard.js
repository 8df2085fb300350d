// The statements that used most, where the gateway tells.

import { path } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, units } from "../lib/format.js";
import { card, empty, table } from "./card.js";

const LIMIT = 20;

export async function statementsCard(place, { api, tenant, signal }) {
  let found;
  try {
    found = await api.find(path(["tenants", tenant.id, "statements"], { limit: LIMIT }), signal);
  } catch {
    return; // The rest of the page tells that the gateway does not answer.
  }
  if (!found) return;
  const rows = found.statements.map((each) => [h("code", { class: "sql", text: each.query ?? each.text ?? "" }), each.role ?? "–", count(each.calls), units(each.request_units)]);
  const columns = [["Statement", "wide"], ["Role"], ["Calls", "number"], ["Used", "number"]];
  place.replaceChildren(card("Statements that used most", rows.length ? table("Statements that used most", columns, rows) : empty("No statements yet", "They appear here a little after they have run.")));
}
