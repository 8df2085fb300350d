// The list of tenants: searched and filtered by the gateway, a page at a time, fresh every few seconds.

import { path } from "../lib/api.js";
import { h, setText, show } from "../lib/dom.js";
import { percent, plural, rate } from "../lib/format.js";
import { input, select } from "../lib/forms.js";
import { poll } from "../lib/poll.js";
import { links } from "../lib/router.js";
import { Rows } from "../lib/rows.js";
import { askToRestore, askToSuspend, wake } from "../parts/actions.js";
import { empty, pageHead } from "../parts/card.js";
import { pods, sessions, stateBadge } from "../parts/state.js";
import { createTenant } from "./create.js";

const EVERY_MS = 3000;
const PAGE = 50;
const TYPING_MS = 250;
const STATES = [
  ["", "Every state"],
  ["running", "Running"],
  ["waking", "Waking"],
  ["draining", "Draining"],
  ["asleep", "Asleep"],
  ["deleted", "Deleted"],
];
const COLUMNS = [["Name"], ["State"], ["Pods", "number"], ["Sessions", "number"], ["CPU", "number"], ["Request units", "number"], ["Why awake", "wide"], ["", "action"]];

/** What the search field asks the gateway for: `shop`, `shop-17`, `17`, or a label as `stage=test`. */
export function searchQuery(text) {
  const words = text.trim();
  if (!words) return {};
  return words.includes("=") ? { label: words } : { search: words };
}

export function showTenants(main, context) {
  const { api, me, signal } = context;
  const search = input({ type: "search", placeholder: "Name, or label=value", "aria-label": "Search tenants by name or label", spellcheck: "false" });
  const state = select(STATES, { "aria-label": "State" });
  const body = h("tbody", { role: "rowgroup" });
  const rows = new Rows(body, { make: () => makeRow(context, refresh) });
  const table = h(
    "table",
    { role: "table", class: "stacks tenants", "aria-label": "Tenants" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, COLUMNS.map(([title, kind]) => h("th", { role: "columnheader", scope: "col", class: kind ?? "" }, title || h("span", { class: "unseen", text: "Actions" }))))),
    body,
  );
  const nothing = h("div");
  const pager = makePager(refresh);
  const create = () => createTenant(context, refresh);
  const isMaker = context.mayWrite && me.scope !== "tenant";
  main.replaceChildren(
    pageHead("Tenants", { aside: isMaker ? h("button", { type: "button", class: "primary", text: "Create tenant", on: { click: create } }) : null }),
    h("div", { class: "toolbar", role: "search" }, search, state),
    h("div", { class: "card list", "aria-busy": "true" }, table, nothing),
    pager.element,
  );
  show(table, false);
  context.setTitle("Tenants");

  const list = main.querySelector(".list");
  const polling = poll(
    EVERY_MS,
    signal,
    async () => {
      const asked = [search.value, state.value, pager.after];
      const query = { ...searchQuery(search.value), state: state.value, after: pager.after || null, limit: PAGE };
      const page = await api.get(path(["tenants"], query), signal);
      // Another question was asked meanwhile: this answer would only flicker past.
      if (asked.join("\n") !== [search.value, state.value, pager.after].join("\n")) return;
      draw(page);
    },
    (error) => nothing.replaceChildren(empty("This did not work", error.message)),
  );

  function refresh() {
    polling.now();
  }

  function draw(page) {
    list.setAttribute("aria-busy", "false");
    rows.set(page.tenants);
    show(table, page.tenants.length > 0);
    show(nothing, page.tenants.length === 0);
    pager.update(page);
    if (page.tenants.length) return;
    const isFiltered = search.value.trim() || state.value || pager.after;
    if (isFiltered) nothing.replaceChildren(empty("No tenant matches", "Try another name or another state."));
    else if (!nothing.firstChild || !nothing.dataset.first) nothing.replaceChildren(empty("No tenants yet", "A tenant is a PostgreSQL database of its own. While nobody uses it, it sleeps and costs nothing.", ...(isMaker ? [h("button", { type: "button", class: "primary", text: "Create the first tenant", on: { click: create } })] : [])));
    nothing.dataset.first = isFiltered ? "" : "yes";
  }

  let typing = 0;
  const changed = () => {
    pager.reset();
    refresh();
  };
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(changed, TYPING_MS);
  });
  state.addEventListener("change", changed);
}

function makePager(refresh) {
  const before = [];
  const back = h("button", { type: "button", class: "small", text: "Previous" });
  const next = h("button", { type: "button", class: "small", text: "Next" });
  const text = h("span", { class: "muted" });
  const pager = {
    after: 0,
    following: null,
    element: h("nav", { class: "pager", "aria-label": "Pages", hidden: true }, back, text, next),
    reset() {
      before.length = 0;
      pager.after = 0;
    },
    update(page) {
      pager.following = page.next;
      back.disabled = before.length === 0;
      next.disabled = page.next === null;
      setText(text, plural(page.tenants.length, "tenant"));
      show(pager.element, before.length > 0 || page.next !== null);
    },
  };
  back.addEventListener("click", () => {
    pager.after = before.pop() ?? 0;
    refresh();
  });
  next.addEventListener("click", () => {
    before.push(pager.after);
    pager.after = pager.following;
    refresh();
  });
  return pager;
}

function makeRow(context, refresh) {
  const link = h("a", { class: "name" });
  const plain = h("span", { class: "name" });
  const id = h("span", { class: "id" });
  const labels = h("span", { class: "labels" });
  const badge = stateBadge();
  const cells = COLUMNS.slice(2, 7).map(([title, kind]) => h("td", { role: "cell", class: kind, "data-name": title }));
  const action = h("button", { type: "button", class: "small" });
  const element = h(
    "tr",
    { role: "row" },
    h("td", { role: "cell", class: "first", "data-name": "Name" }, link, plain, id, labels),
    h("td", { role: "cell", class: "statecell", "data-name": "State" }, badge.element),
    cells,
    h("td", { role: "cell", class: "action" }, context.mayWrite ? action : null),
  );
  let tenant = null;
  let act = null;
  action.addEventListener("click", () => act?.());

  function offer() {
    const offers = {
      running: ["Suspend", () => askToSuspend(context, tenant, refresh)],
      draining: ["Suspend", () => askToSuspend(context, tenant, refresh)],
      asleep: ["Wake", () => wake(context, tenant, refresh)],
      deleted: context.me.scope === "tenant" ? null : ["Restore", () => askToRestore(context, tenant, refresh)],
    };
    const [word, how] = offers[tenant.state] ?? ["", null];
    act = how;
    action.hidden = how === null;
    setText(action, word);
    action.setAttribute("aria-label", `${word} ${tenant.name}`);
  }

  function update(fresh) {
    tenant = fresh;
    const isDeleted = tenant.state === "deleted";
    show(link, !isDeleted);
    show(plain, isDeleted);
    setText(link, tenant.name);
    setText(plain, tenant.name);
    link.setAttribute("href", links.tenant(tenant.id));
    setText(id, String(tenant.id));
    const words = Object.entries(tenant.labels).map(([name, value]) => (value ? `${name}=${value}` : name));
    if (labels.dataset.words !== words.join("\n")) {
      labels.dataset.words = words.join("\n");
      labels.replaceChildren(...words.map((text) => h("span", { class: "label", text })));
    }
    badge.update(tenant.state);
    element.dataset.state = tenant.state;
    const texts = [pods(tenant), sessions(tenant), percent(tenant.cpu_percent), rate(tenant.request_units_per_second), tenant.awake_because];
    texts.forEach((text, index) => setText(cells[index], text));
    offer();
  }

  return { element, update };
}
