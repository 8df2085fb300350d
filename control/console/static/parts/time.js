// A moment in the viewer's zone; its title says it in UTC.

import { h } from "../lib/dom.js";
import { dateTime, utc } from "../lib/format.js";

export function timeElement(text) {
  if (!text) return h("span", { text: "–" });
  const date = new Date(text);
  return h("time", { datetime: date.toISOString(), title: utc(date), text: dateTime(date) });
}
