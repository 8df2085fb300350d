// Text to be taken along: shown in full, copied by one press.

import { announce, h } from "./dom.js";

const SHOWN_MS = 2000;

/** Puts text on the clipboard; whether that worked. */
async function copyText(text) {
  // There is a clipboard on secure origins alone; elsewhere a selection is copied, as ever.
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Denied: the old way may still work.
    }
  }
  const area = h("textarea", { class: "unseen", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** A button that copies what `read()` gives. */
export function copyButton(read, what) {
  let shown = 0;
  const button = h("button", { type: "button", class: "small copy", text: "Copy", "aria-label": `Copy ${what}` });
  button.addEventListener("click", async () => {
    const done = await copyText(read());
    button.focus();
    button.textContent = done ? "Copied" : "Press Ctrl-C";
    announce(done ? `${what} copied` : `${what} could not be copied`);
    clearTimeout(shown);
    shown = setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
  });
  return button;
}

/** A line of code with its button. */
export function copyLine(text, what) {
  return h("div", { class: "copyline" }, h("code", { text, tabindex: "0", role: "group", "aria-label": what }), copyButton(() => text, what));
}
