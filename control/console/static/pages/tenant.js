// A tenant's page: what it is doing, four tabs, and one poll that feeds them all.

import { path } from "../lib/api.js";
import { announce, h, setText, show } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { poll } from "../lib/poll.js";
import { links } from "../lib/router.js";
import { askToRestore, askToSuspend, wake } from "../parts/actions.js";
import { empty } from "../parts/card.js";
import { Samples } from "../parts/samples.js";
import { pods, sessions, stateBadge } from "../parts/state.js";
import { showActivity } from "./activity.js";
import { showOverview } from "./overview.js";
import { showSettings } from "./settings.js";
import { showUsage } from "./usage.js";

const EVERY_MS = 2000;
const TABS = [
  ["overview", "Overview", showOverview],
  ["usage", "Usage", showUsage],
  ["settings", "Settings", showSettings],
  ["activity", "Activity", showActivity],
];

export function showTenant(main, context) {
  const { api, signal } = context;
  const page = new TenantPage(main, context);
  const polling = poll(
    EVERY_MS,
    signal,
    async () => page.update(await api.get(path(["tenants", context.route.id]), signal)),
    (error) => page.end(error),
  );
  page.refresh = polling.now;
  return (route) => page.navigate(route.tab);
}

class TenantPage {
  constructor(main, context) {
    this.main = main;
    this.context = context;
    this.tab = context.route.tab;
    this.tenant = null;
    this.samples = new Samples();
    this.watchers = new Set();
    this.refresh = () => {};
  }

  update(tenant) {
    const isFirst = this.tenant === null;
    const before = this.tenant?.state;
    this.tenant = tenant;
    this.samples.add(Date.now() / 1000, tenant);
    if (isFirst) this.#draw();
    this.#updateHead();
    if (!isFirst && before !== tenant.state) announce(`${tenant.name} is ${tenant.state}`);
    if (isFirst) this.navigate(this.tab, { isFirst: true });
    else for (const act of this.watchers) act(tenant);
  }

  /** Shows a tab. What the one before it started ends. */
  navigate(tab, { isFirst = false } = {}) {
    this.tab = TABS.some(([name]) => name === tab) ? tab : "overview";
    if (!this.tenant) return;
    this.leaving?.abort();
    this.leaving = new AbortController();
    this.watchers.clear();
    for (const link of this.tabs.children) {
      if (link.dataset.tab === this.tab) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const [, title, showTab] = TABS.find(([name]) => name === this.tab);
    const body = h("div", { class: `tab ${this.tab}` });
    this.body.replaceChildren(body);
    const signal = AbortSignal.any([this.context.signal, this.leaving.signal]);
    showTab(body, {
      ...this.context,
      signal,
      tenant: this.tenant,
      samples: this.samples,
      onUpdate: (act) => this.watchers.add(act),
      refresh: () => this.refresh(),
      onDeleted: (deleted) => this.#showDeleted(deleted),
    });
    this.context.setTitle(`${this.tenant.name} · ${title}`, { isFirst });
  }

  /** The tenant cannot be read any more. */
  end(error) {
    if (this.main.querySelector(".gone")) return;
    this.#leave();
    const isGone = error.status === 404;
    this.main.replaceChildren(h("div", { class: "gone" }, h("h1", { tabindex: "-1", text: isGone ? "No such tenant" : "This did not work" }), h("p", { text: isGone ? "It was deleted, or this key does not reach it." : error.message }), this.#back()));
    this.context.setTitle("No such tenant");
  }

  #leave() {
    this.leaving?.abort();
    this.watchers.clear();
  }

  #back() {
    return this.context.me.scope === "tenant" ? null : h("p", {}, h("a", { href: links.tenants, text: "All tenants" }));
  }

  #showDeleted({ until }) {
    this.#leave();
    const again = () => askToRestore(this.context, this.tenant, (isDone) => {
      if (isDone) dispatchEvent(new CustomEvent("dormouse:reload"));
    });
    this.main.replaceChildren(
      h(
        "div",
        { class: "gone" },
        h("h1", { tabindex: "-1", text: `${this.tenant.name} is deleted` }),
        empty(until ? `It can be restored until ${dateTime(new Date(until))}` : "Its data goes now", until ? "After that its data is gone." : "It cannot be restored.", until ? h("button", { type: "button", text: "Restore", on: { click: again } }) : ""),
        this.#back(),
      ),
    );
    this.context.setTitle(`${this.tenant.name} is deleted`);
  }

  #draw() {
    this.title = h("h1", { tabindex: "-1" });
    this.badge = stateBadge();
    this.numbers = h("span", { class: "muted" });
    this.why = h("p", { class: "why" });
    this.suspend = h("button", { type: "button", text: "Suspend", on: { click: () => askToSuspend(this.context, this.tenant, this.refresh) } });
    this.wake = h("button", { type: "button", text: "Wake", on: { click: () => wake(this.context, this.tenant, this.refresh) } });
    this.tabs = h("nav", { class: "tabs", "aria-label": "Tenant" }, TABS.map(([name, text]) => h("a", { href: links.tenant(this.tenant.id, name), text, data: { tab: name } })));
    this.body = h("div");
    this.main.replaceChildren(
      h(
        "div",
        { class: "pagehead" },
        h("div", {}, h("div", { class: "titleline" }, this.title, h("span", { class: "id", title: "Its id", text: String(this.tenant.id) }), this.badge.element, this.numbers), this.why),
        this.context.mayWrite ? h("div", { class: "buttons" }, this.wake, this.suspend) : null,
      ),
      this.tabs,
      this.body,
    );
  }

  #updateHead() {
    const { tenant } = this;
    setText(this.title, tenant.name);
    this.badge.update(tenant.state);
    const isAwake = tenant.state !== "asleep" && tenant.state !== "unknown";
    setText(this.numbers, isAwake ? `Pods ${pods(tenant)} · Sessions ${sessions(tenant)}` : "");
    const parked = tenant.parked ? ` ${tenant.parked === 1 ? "One session waits" : `${tenant.parked} sessions wait`} parked.` : "";
    const held = tenant.holds.map((each) => `session ${each.backend_pid}: ${each.reason}`).join("; ");
    const why = tenant.awake_because ? `Awake: ${tenant.awake_because}${held ? ` (${held})` : ""}` : `${tenant.state === "unknown" ? "The autoscaler does not answer: nobody knows whether it sleeps." : "It sleeps and costs no CPU and no memory; the first query wakes it."}${parked}`;
    setText(this.why, why);
    show(this.suspend, isAwake);
    show(this.wake, tenant.state === "asleep");
  }
}
