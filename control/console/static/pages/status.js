// The installation, for its operator: roles, warm pool, and who is busiest.

import { path } from "../lib/api.js";
import { h, setText, show } from "../lib/dom.js";
import { count, percent, plural, rate } from "../lib/format.js";
import { poll } from "../lib/poll.js";
import { links } from "../lib/router.js";
import { Rows } from "../lib/rows.js";
import { card, empty, errorNote, facts, pageHead, table } from "../parts/card.js";
import { pods, sessions, stateBadge } from "../parts/state.js";
import { timeElement } from "../parts/time.js";

const EVERY_MS = 3000;
const BUSIEST = 20;

export function showStatus(main, context) {
  const { api, signal } = context;
  const now = h("div", { class: "slot wide" });
  const roles = h("div", { class: "slot wide" });
  const busiest = makeBusiest();
  main.replaceChildren(pageHead("Status"), h("div", { class: "tab" }, now, roles, busiest.element));
  context.setTitle("Status");
  let shown = "";
  poll(
    EVERY_MS,
    signal,
    async () => {
      const status = await api.get(path(["status"]), signal);
      if (JSON.stringify(status) === shown) return;
      shown = JSON.stringify(status);
      roles.replaceChildren(rolesCard(status));
    },
    (error) => roles.replaceChildren(card("Roles", errorNote(error))),
  );
  poll(
    EVERY_MS,
    signal,
    async () => {
      const live = await api.get(path(["live"], { limit: BUSIEST }), signal);
      now.replaceChildren(nowCard(live));
      busiest.update(live);
    },
    (error) => now.replaceChildren(card("Now", errorNote(error))),
  );
}

function nowCard({ totals, warm_pool: pool }) {
  return card(
    "Now",
    facts([
      ["Tenants awake", `${count(totals.awake)} of ${count(totals.registered)}`],
      ["Pods", count(totals.pods)],
      ["Warm pods ready", pool ? `${pool.ready} of ${pool.wanted}` : "–"],
      ["Sessions", `${count(totals.connections)}${totals.parked ? ` + ${count(totals.parked)} parked` : ""}`],
      ["CPU", percent(totals.cpu_percent)],
      ["Request units", rate(totals.request_units_per_second)],
    ]),
  );
}

function rolesCard(status) {
  const rows = Object.entries(status.roles).map(([name, role]) => {
    const state = h("span", { class: "state", "data-state": role.state === "running" ? "running" : "draining" }, h("span", { class: "dot", "aria-hidden": "true" }), role.state);
    const retiring = role.retiring?.length ? `, ${plural(role.retiring.length, "predecessor")} retiring` : "";
    return [name, h("span", {}, state, retiring), role.pid === null ? "–" : String(role.pid), count(role.restarts), role.version ?? "–", timeElement(role.since)];
  });
  return card({ title: "Roles", aside: h("span", { class: "muted", text: `Dormouse ${status.version}` }) }, rows.length ? table("Roles", [["Role", "first"], ["State"], ["Process", "number"], ["Deaths", "number"], ["Version"], ["Since", "when"]], rows) : empty("Nobody supervises here", "The roles are looked after elsewhere, as by Kubernetes."));
}

const COLUMNS = [["Tenant", "first"], ["State"], ["Pods", "number"], ["Sessions", "number"], ["CPU", "number"], ["Request units", "number"], ["Why awake", "wide"]];

/** The tenants that are awake, the busiest first: `{element, update(live)}`. */
function makeBusiest() {
  const list = table("Awake now", COLUMNS, []);
  const rows = new Rows(list.querySelector("tbody"), { make: makeRow });
  const nothing = empty("All tenants sleep", "No pod runs for anybody, and nobody is charged for one.");
  const more = h("span", { class: "muted" });
  return {
    element: h("div", { class: "slot wide" }, card({ title: "Awake now", aside: more }, list, nothing)),
    update(live) {
      rows.set(live.tenants);
      setText(more, live.more ? `and ${plural(live.more, "other")}` : "");
      show(list, live.tenants.length > 0);
      show(nothing, live.tenants.length === 0);
    },
  };
}

function makeRow(tenant) {
  const name = h("a", { class: "name", href: links.tenant(tenant.id) });
  const badge = stateBadge();
  const cells = COLUMNS.map(([title, kind]) => h("td", { role: "cell", class: kind ?? "", "data-name": title }));
  cells[0].append(name);
  cells[1].append(badge.element);
  return {
    element: h("tr", { role: "row" }, cells),
    update(fresh) {
      setText(name, fresh.name);
      badge.update(fresh.state);
      const texts = [pods(fresh), sessions(fresh), percent(fresh.cpu_percent), rate(fresh.request_units_per_second), fresh.awake_because];
      texts.forEach((text, index) => setText(cells[index + 2], text));
    },
  };
}
