// Parts of a page: a titled section, a fact with its name, a table, and what is said where there is nothing.

import { h, makeId } from "../lib/dom.js";

/** A titled section. */
export function card(title, ...children) {
  const id = makeId("card");
  const options = typeof title === "string" ? { title } : title;
  return h(
    "section",
    { class: `card ${options.class ?? ""}`.trim(), "aria-labelledby": id },
    h("div", { class: "cardhead" }, h("h2", { id, text: options.title }), options.aside ?? null),
    children,
  );
}

/** Names with values: [name, text or element] pairs. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", {}, value))));
}

/** A table. `columns` are [title, class] pairs; `rows` are lists of texts or elements. */
export function table(label, columns, rows, { isWide = false } = {}) {
  const cell = (value, index) =>
    h("td", { role: "cell", class: columns[index][1] ?? "", "data-name": columns[index][0] }, value ?? "–");
  return h(
    "div",
    { class: isWide ? "scroll" : "", ...(isWide ? { tabindex: "0", role: "group", "aria-label": label } : {}) },
    h(
      "table",
      { role: "table", "aria-label": label, class: isWide ? "" : "stacks" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([title, kind]) => h("th", { role: "columnheader", scope: "col", class: kind ?? "", text: title })))),
      h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" }, row.map(cell)))),
    ),
  );
}

export function empty(title, text, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "emptytitle", text: title }), h("p", { text }), more);
}

export function errorNote(error) {
  return h("p", { class: "error", role: "alert", text: error.message });
}

/** The head of a page: its title, what stands beside and below it. */
export function pageHead(title, { aside = null, below = null } = {}) {
  return h("div", { class: "pagehead" }, h("div", {}, h("h1", { tabindex: "-1", text: title }), below), aside);
}
