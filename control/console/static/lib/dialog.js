// Questions and answers over the page. Escape closes, and focus returns to where it was.

import { copyLine } from "./copy.js";
import { h, makeId } from "./dom.js";
import { field, form, input } from "./forms.js";

/** Opens a dialog with `build(close)`'s elements; resolves to what `close` was given. */
export function open(title, build, { isLocked = false } = {}) {
  return new Promise((resolve) => {
    const id = makeId("dialog");
    const before = document.activeElement;
    const dialog = h("dialog", { "aria-labelledby": id });
    let answer = null;
    const close = (value = null) => {
      answer = value;
      dialog.close();
    };
    dialog.append(h("h2", { id, text: title }), ...build(close));
    // A second Escape closes a dialog whatever `cancel` says: the key itself is kept from it.
    for (const name of ["cancel", "keydown"]) {
      dialog.addEventListener(name, (event) => {
        if (isLocked && (name === "cancel" || event.key === "Escape")) event.preventDefault();
      });
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(answer);
    });
    // A page that is left takes its dialogs along.
    addEventListener("hashchange", () => dialog.open && dialog.close(), { once: true });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function cancelButton(close) {
  return h("button", { type: "button", text: "Cancel", on: { click: () => close() } });
}

/** Asks; `act()` is carried out in the dialog, so that its errors are shown there. Whether it was. */
export function confirm(title, { text, label, act, isDanger = false, typed = null }) {
  return open(title, (close) => {
    const fields = [];
    if (typed !== null) fields.push(field("typed", `Type ${typed} to confirm`, input({ spellcheck: "false" })));
    const made = form(fields, {
      label,
      more: [cancelButton(close)],
      save: async () => {
        if (typed !== null && fields[0].control.value !== typed) {
          fields[0].setError(`This is not “${typed}”`);
          fields[0].control.focus();
          return;
        }
        await act();
        close(true);
      },
    });
    if (isDanger) made.element.querySelector("button[type=submit]").className = "danger";
    return [h("p", { text }), made.element];
  });
}

/** Shows what is shown once: `lines` are [name, text] pairs. */
export function secrets(title, text, lines) {
  return open(
    title,
    (close) => [
      h("p", { class: "once", text }),
      ...lines.map(([name, value]) => h("div", { class: "secret" }, h("p", { class: "secretname", text: name }), copyLine(value, name))),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", text: "I have saved it", on: { click: () => close(true) } })),
    ],
    { isLocked: true },
  );
}
