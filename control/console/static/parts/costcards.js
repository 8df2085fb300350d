// What roles and statements used this month, where the gateway tells.

import { path } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { count, units } from "../lib/format.js";
import { card, empty, table } from "./card.js";

const LIMIT = 20;

export async function costCards(place, { api, tenant, signal }) {
  const [found, usage] = await Promise.all([
    api.find(path(["tenants", tenant.id, "statements"], { limit: LIMIT }), signal),
    api.find(path(["tenants", tenant.id, "usage"], { by: "role" }), signal),
  ]);
  place.replaceChildren(...[found && statementsCard(found), usage?.roles && rolesCard(usage.roles)].filter(Boolean));
}

function statementsCard(found) {
  const rows = found.statements.map((each) => [h("code", { class: "sql", text: each.query }), each.role, count(each.calls), each.mean_ms === null ? "–" : `${count(each.mean_ms)} ms`, units(each.request_units)]);
  if (found.others.calls) rows.push([h("span", { class: "muted", text: "All others together" }), "", count(found.others.calls), "–", units(found.others.request_units)]);
  const columns = [["Statement", "wide"], ["Role"], ["Calls", "number"], ["Mean time", "number"], ["Used", "number"]];
  return card("Statements that used most", rows.length ? table("Statements that used most", columns, rows) : empty("No statements yet this month", "They appear here seconds after they have run."));
}

function rolesCard(roles) {
  if (!roles.length) return null;
  const rows = roles.map((each) => [each.role ?? h("span", { class: "muted", text: "no role, as failed logins" }), count(each.calls), units(each.request_units)]);
  return card("Usage by role", table("Usage by role", [["Role", "first"], ["Calls", "number"], ["Used", "number"]], rows));
}
