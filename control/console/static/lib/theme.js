// Light, dark, or as the system has it. Only this choice is kept when the tab is closed.

import { h } from "./dom.js";

const KEY = "dormouse.theme";
const CHOICES = [
  ["system", "System theme"],
  ["light", "Light theme"],
  ["dark", "Dark theme"],
];
const watchers = new Set();
const dark = matchMedia("(prefers-color-scheme: dark)");

function read() {
  return document.documentElement.dataset.theme || "system";
}

function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Storage is denied: the choice lasts as long as the page.
  }
  tell();
}

function tell() {
  for (const act of watchers) act();
}

dark.addEventListener("change", tell);

/** Calls `act` when the colours have changed, until `signal` aborts. */
export function onTheme(act, signal) {
  watchers.add(act);
  signal.addEventListener("abort", () => watchers.delete(act));
}

/** The choice of a theme. */
export function themeSelect() {
  const select = h(
    "select",
    { "aria-label": "Theme", class: "quiet", on: { change: () => choose(select.value) } },
    CHOICES.map(([value, text]) => h("option", { value, text })),
  );
  select.value = read();
  return select;
}
