// Signing in with an API key.

import { h } from "../lib/dom.js";
import { field, form, Invalid } from "../lib/forms.js";

export function showSignIn(main, { reason, signIn }) {
  const control = h("input", { type: "password", autocomplete: "current-password", spellcheck: "false", required: true });
  const key = field("key", "API key", control);
  const made = form([key], {
    label: "Sign in",
    save: async () => {
      const text = control.value.trim();
      if (!text) throw new Invalid({ key: "Enter a key" });
      // A header holds no other characters, so nothing else can be a key.
      if (!/^[!-~]+$/.test(text)) throw new Invalid({ key: "This is no API key: they have no spaces and no accents" });
      try {
        await signIn(text);
      } catch (error) {
        if (error.status === 401) throw new Invalid({ key: "This key opens nothing: it is unknown, revoked or past its end" });
        throw error;
      }
    },
  });
  if (reason) made.showProblem(new Error(reason));
  main.replaceChildren(
    h(
      "div",
      { class: "signin" },
      h("img", { src: new URL("../mark.svg", import.meta.url).pathname, alt: "", width: 48, height: 48 }),
      h("h1", { tabindex: "-1", text: "Sign in to Dormouse" }),
      made.element,
      h(
        "div",
        { class: "help" },
        h("p", {}, "The operator's key is on the gateway's machine, in the file ", h("code", { text: "admin.key" }), " of its data folder:"),
        h("pre", { tabindex: "0", role: "group", "aria-label": "Command" }, h("code", { text: "cat .dormouse/admin.key" })),
        h("p", {}, "A key for one organisation or one tenant is made with ", h("code", { text: "dormouse key create" }), ". The key stays in this tab until you sign out or close it."),
      ),
    ),
  );
  control.focus();
}
