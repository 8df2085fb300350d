// Fields with label, hint and error; forms that show the gateway's errors beside the field to blame.

import { h, makeId, setText, show } from "./dom.js";

/** One field. `control` is an input, select or textarea; `name` is the API's name of it. */
export function field(name, label, control, { hint = "", unit = "" } = {}) {
  const id = makeId("field");
  control.id = id;
  control.name = name;
  const hintText = h("p", { class: "hint", id: `${id}-hint`, text: hint });
  const errorText = h("p", { class: "error", id: `${id}-error` });
  hintText.hidden = !hint;
  errorText.hidden = true;
  control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  const row = unit ? h("div", { class: "withunit" }, control, h("span", { class: "unit", text: unit })) : control;
  return {
    name,
    label,
    control,
    element: h("div", { class: "field" }, h("label", { for: id, text: label }), row, hintText, errorText),
    setHint(text) {
      setText(hintText, text);
      show(hintText, text !== "");
    },
    setError(text) {
      setText(errorText, text);
      show(errorText, text !== "");
      if (text) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    },
  };
}

export const input = (attributes = {}) => h("input", { type: "text", autocomplete: "off", ...attributes });
export const integer = (attributes = {}) => input({ inputmode: "numeric", pattern: "[0-9]*", class: "number", ...attributes });

export function select(choices, attributes = {}) {
  return h("select", attributes, choices.map(([value, text]) => h("option", { value, text })));
}

/** A form. `save()` may throw what the API throws; its errors are shown where they belong. */
export function form(fields, { label, save, more = [], isPrimary = true }) {
  const problem = h("p", { class: "error", role: "alert" });
  problem.hidden = true;
  const button = h("button", { type: "submit", class: isPrimary ? "primary" : "", text: label });
  const element = h(
    "form",
    { class: "form", novalidate: true },
    fields.map((each) => each.element),
    problem,
    h("div", { class: "buttons" }, button, more),
  );
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled") === "true") return;
    clear();
    button.setAttribute("aria-disabled", "true");
    try {
      await save();
    } catch (error) {
      if (error.name !== "AbortError") showProblem(error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });

  function clear() {
    problem.hidden = true;
    for (const each of fields) each.setError("");
  }

  function showProblem(error) {
    const left = [];
    for (const { field: place, message } of error.errors ?? []) {
      const name = place.replace(/^body\./, "");
      const found = fields.find((each) => name === each.name || name.startsWith(`${each.name}.`));
      if (found) found.setError(sentence(message));
      else left.push(`${name}: ${message}`);
    }
    const first = fields.find((each) => each.control.getAttribute("aria-invalid"));
    const text = left.join("; ") || (first ? "" : error.message);
    setText(problem, sentence(text));
    show(problem, text !== "");
    first?.control.focus();
  }

  return { element, clear, showProblem, submit: () => element.requestSubmit() };
}

/** Errors that the page itself finds, as the gateway would tell them. */
export class Invalid extends Error {
  constructor(errors) {
    super(Object.values(errors).join("; "));
    this.errors = Object.entries(errors).map(([name, message]) => ({ field: name, message }));
  }
}

/** "use 1 to 64" → "Use 1 to 64". */
export function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : "";
}

/** The whole number in a field; null if it is empty. Throws Invalid. */
export function wholeNumber(each) {
  const text = each.control.value.trim();
  if (text === "") return null;
  if (!/^[0-9]{1,15}$/.test(text)) throw new Invalid({ [each.name]: "Use a whole number" });
  return Number(text);
}
