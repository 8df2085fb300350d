// A tenant at a glance: live charts, this month's cost and limit, and how to connect.

import { path } from "../lib/api.js";
import { LiveChart } from "../lib/chart.js";
import { copyLine } from "../lib/copy.js";
import { h } from "../lib/dom.js";
import { bytes, compact, count, money, percent, rate, units } from "../lib/format.js";
import { poll } from "../lib/poll.js";
import { links } from "../lib/router.js";
import { card, facts } from "../parts/card.js";
import { isLimited, limitBar } from "../parts/limitbar.js";
import { SPAN_SECONDS } from "../parts/samples.js";

const SLOW_MS = 10_000;
const MIB = 1024 * 1024;
const ROUTES = [
  ["user", "In the user name", "Works with every client."],
  ["sni", "In the host name", "For clients that send the server name in TLS, as libpq 14 and later do."],
  ["options", "In the startup options", "For libpq and its family."],
  ["database", "In the database name", "Where nothing else can be set."],
];

export function showOverview(body, context) {
  const { api, signal, tenant, samples } = context;
  const charts = [
    ["cpu_percent", new LiveChart("CPU of one core", { format: percent, spanSeconds: SPAN_SECONDS, least: 10, signal })],
    ["request_units_per_second", new LiveChart("Request units", { format: rate, axisFormat: (value) => `${compact(value)} RU/s`, spanSeconds: SPAN_SECONDS, least: 10, signal })],
    ["pods", new LiveChart("Pods", { format: count, axisFormat: (value) => (Number.isInteger(value) ? String(value) : ""), spanSeconds: SPAN_SECONDS, least: 2, isStepped: true, signal })],
    ["storage", new LiveChart("Storage", { format: bytes, isBinary: true, spanSeconds: SPAN_SECONDS, least: MIB, signal })],
  ];
  const month = h("div", { class: "slot wide" });
  body.append(
    card({ title: "Live", class: "live", aside: h("span", { class: "muted", text: "as you watch, up to 5 minutes" }) }, h("div", { class: "charts" }, charts.map(([, chart]) => chart.element))),
    month,
    connectCard(context),
  );
  const draw = () => {
    for (const [name, chart] of charts) chart.set(samples.times, samples.values[name]);
  };
  draw();
  context.onUpdate(draw);

  const limitPath = path(["tenants", tenant.id, "spend-limit"]);
  let shown = null;
  poll(SLOW_MS, signal, async () => {
    const [usage, limit] = await Promise.all([api.get(path(["tenants", tenant.id, "usage"]), signal), api.find(limitPath, signal)]);
    samples.setStorage(usage.storage_bytes);
    draw();
    const state = JSON.stringify([usage.request_units, usage.cost_micros, usage.forecast, limit]);
    if (state !== shown) month.replaceChildren(monthCard(tenant, usage, limit));
    shown = state;
  });
}

function monthCard(tenant, usage, limit) {
  const inside = [
    facts([
      ["Cost so far", money(usage.cost_micros, usage.currency)],
      ...(usage.forecast ? [["Forecast", money(usage.forecast.cost_micros, usage.currency)]] : []),
      ["Request units", units(usage.request_units)],
      ["Stored", bytes(usage.storage_bytes)],
    ]),
  ];
  if (limit && isLimited(limit)) {
    const bar = limitBar("Spend limit");
    bar.update(limit, usage.currency);
    inside.push(bar.element);
  } else if (limit) inside.push(h("p", { class: "hint" }, "No spend limit. ", h("a", { href: links.tenant(tenant.id, "usage"), text: "Set one" })));
  return card({ title: "This month", aside: h("a", { href: links.tenant(tenant.id, "usage"), text: "Details" }) }, ...inside);
}

function connectCard({ api, tenant, signal }) {
  const list = h("div", { class: "routes" });
  api.get(path(["tenants", tenant.id, "connection-urls"]), signal).then(
    (urls) => list.replaceChildren(...ROUTES.map(([name, title, hint]) => h("div", { class: "route" }, h("h3", { text: title }), h("p", { class: "hint", text: hint }), copyLine(urls[name], `Connection URL, tenant ${title.toLowerCase()}`)))),
    (error) => signal.aborted || list.replaceChildren(h("p", { class: "error", text: error.message })),
  );
  return card("Connect", h("p", { class: "hint", text: `Each URL names this tenant to a client in another place; take the first one unless it does not fit. The password of ${tenant.user} is not in them: it was shown when the tenant was made.` }), list);
}
