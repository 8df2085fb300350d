// A spend limit as a bar, with the marks at which notices are sent.

import { h, setAttribute, setText } from "../lib/dom.js";
import { cents, money, percent, units } from "../lib/format.js";

const MARKS = [50, 75, 90, 100];
const SCALE_MAX = 110;

/** What is said of a limit beside its bar. */
export function limitText(limit, currency) {
  const parts = [];
  if (limit.monthly_cents !== null) parts.push(`${money(limit.used.cost_micros, currency)} of ${cents(limit.monthly_cents, currency)}`);
  if (limit.monthly_request_units !== null) parts.push(`${units(limit.used.request_units)} of ${units(limit.monthly_request_units)}`);
  return parts.join(" · ");
}

export function isLimited(limit) {
  return limit.monthly_cents !== null || limit.monthly_request_units !== null;
}

/** `{element, update(limit, currency)}` */
export function limitBar(label) {
  const fill = h("div", { class: "fill" });
  const text = h("span", { class: "limittext" });
  const share = h("span", { class: "limitshare" });
  const bar = h(
    "div",
    { class: "bar", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 },
    fill,
    MARKS.map((mark) => {
      const line = h("span", { class: "mark", "aria-hidden": "true" });
      line.style.insetInlineStart = `${(mark / SCALE_MAX) * 100}%`;
      return line;
    }),
  );
  const scale = h(
    "div",
    { class: "scale", "aria-hidden": "true" },
    MARKS.map((mark) => {
      const name = h("span", { text: mark === 100 ? "100 %" : String(mark) });
      name.style.insetInlineStart = `${(mark / SCALE_MAX) * 100}%`;
      return name;
    }),
  );
  return {
    element: h("div", { class: "limit" }, h("div", { class: "limithead" }, text, share), bar, scale),
    update(limit, currency) {
      const used = limit.used.percent ?? 0;
      fill.style.inlineSize = `${(Math.min(used, SCALE_MAX) / SCALE_MAX) * 100}%`;
      setAttribute(fill, "data-level", used >= 100 ? "full" : used >= 75 ? "high" : "low");
      setAttribute(bar, "aria-valuenow", Math.min(100, Math.round(used)));
      setAttribute(bar, "aria-valuetext", `${percent(used)} used`);
      setText(text, limitText(limit, currency));
      setText(share, percent(used));
    },
  };
}
