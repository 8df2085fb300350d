// What was used and what it costs: by cause and by day, of a tenant, an organisation or everybody.

import { BarChart } from "../lib/chart.js";
import { h } from "../lib/dom.js";
import { bytes, compact, count, day, money, units } from "../lib/format.js";
import { card, empty, facts, table } from "./card.js";
import { timeElement } from "./time.js";

export const CAUSES = [
  ["sql_cpu", "SQL CPU", "--chart-1"],
  ["reads", "Reads", "--chart-2"],
  ["writes", "Writes", "--chart-3"],
  ["egress", "Egress", "--chart-4"],
];
const LINES = [
  ["request_units", "Request units"],
  ["storage", "Storage"],
  ["egress", "Egress"],
  ["pod_time", "Pod time"],
  ["fee", "Monthly fee"],
];

/** Cost, forecast and sums of the month. */
export function monthCard(usage) {
  const lines = LINES.filter(([name]) => usage.cost[name]);
  return card(
    { title: "This month", aside: h("span", { class: "muted" }, "until ", timeElement(usage.period_end)) },
    facts([
      ["Cost so far", money(usage.cost_micros, usage.currency)],
      ...(usage.forecast ? [["Forecast", h("span", {}, money(usage.forecast.cost_micros, usage.currency), h("small", { text: units(usage.forecast.request_units) }))]] : []),
      ["Request units", units(usage.request_units)],
      ["Stored now", bytes(usage.storage_bytes)],
    ]),
    h("p", { class: "hint", text: lines.length ? `Cost: ${lines.map(([name, text]) => `${text.toLowerCase()} ${money(usage.cost[name], usage.currency)}`).join(", ")}.` : "Within the free allowance: nothing to pay so far." }),
  );
}

/** Request units by what they went to. */
export function causesCard(usage) {
  const total = usage.request_units;
  const rows = CAUSES.map(([name, text, colour]) => {
    const value = usage.by_cause[name];
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = `var(${colour})`;
    const share = h("span", { class: "share", "aria-hidden": "true" });
    const fill = h("span", {});
    fill.style.inlineSize = `${total ? (value / total) * 100 : 0}%`;
    fill.style.backgroundColor = `var(${colour})`;
    share.append(fill);
    return [h("span", { class: "cause" }, swatch, text), share, units(value), total ? `${count(Math.round((value / total) * 100))} %` : "–"];
  });
  const card_ = card(
    "Usage by cause",
    table("Request units by cause", [["Cause"], ["Share of all", "wide"], ["Used", "number"], ["Share", "number narrow"]], rows),
    h("p", { class: "hint", text: `System work, shown and not billed: ${units(usage.system.request_units)}.` }),
  );
  card_.querySelector("table").classList.replace("stacks", "tight");
  return card_;
}

/** Request units by day. */
export function daysCard(usage, signal) {
  const days = usage.days ?? [];
  if (!days.length) return card("Usage by day", empty("Nothing used yet this month", "The days appear here once statements have run."));
  const series = CAUSES.map(([name, label, colour]) => ({ label, colour, values: days.map((each) => each.by_cause[name]) }));
  const chart = new BarChart(days.map((each) => day(each.day)), series, { format: (value) => `${compact(value)} RU`, label: `Request units on ${days.length} days; the table below has the numbers`, signal });
  return card(
    "Usage by day",
    chart.place,
    h("ul", { class: "legend", "aria-hidden": "true" }, CAUSES.map(([, text, colour]) => {
      const swatch = h("span", { class: "swatch" });
      swatch.style.backgroundColor = `var(${colour})`;
      return h("li", {}, swatch, text);
    })),
    h(
      "details",
      {},
      h("summary", { text: "As a table" }),
      table(
        "Usage by day",
        [["Day"], ["Used", "number"], ...CAUSES.map(([, text]) => [text, "number"]), ["Cost", "number"]],
        days.map((each) => [day(each.day), units(each.request_units), ...CAUSES.map(([name]) => count(each.by_cause[name])), money(each.cost_micros, usage.currency)]),
        { isWide: true },
      ),
    ),
  );
}
