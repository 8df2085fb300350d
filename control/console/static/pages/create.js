// Making a tenant: a dialog that ends with the password, which is shown this once.

import { makeOnce, path } from "../lib/api.js";
import { open } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { field, form, input, select } from "../lib/forms.js";
import { links } from "../lib/router.js";
import { showPassword } from "../parts/actions.js";
import { parseLabels } from "../parts/labels.js";

const ORGANISATIONS_MAX = 500;

export async function createTenant({ api, me, signal }, done) {
  let organisations = [];
  if (me.scope === "admin") {
    const page = await api.find(path(["organisations"], { limit: ORGANISATIONS_MAX }), signal).catch(() => null);
    organisations = page?.organisations ?? [];
  }
  const name = field("name", "Name", input({ spellcheck: "false", autocapitalize: "none", maxlength: 40 }), { hint: "1 to 40 lower-case letters, digits and inner dashes." });
  const choices = organisations.map((each) => [String(each.id), each.name]);
  const organisation = field("organisation", "Organisation", select(choices));
  const labels = field("labels", "Labels", h("textarea", { rows: 2, spellcheck: "false" }), { hint: "Optional; one name=value a line." });
  const fields = organisations.length > 1 ? [name, organisation, labels] : [name, labels];
  const once = makeOnce();
  let attempts = 0;
  const made = await open("Create a tenant", (close) => [
    form(fields, {
      label: "Create tenant",
      more: [h("button", { type: "button", text: "Cancel", on: { click: () => close() } })],
      save: async () => {
        const body = { name: name.control.value.trim(), labels: parseLabels(labels.control.value) };
        if (organisations.length > 1) body.organisation = Number(organisation.control.value);
        try {
          close((await api.send("POST", path(["tenants"]), { body, once: `${once}-${attempts}` })).data);
        } catch (error) {
          // After a refusal another request is meant; without an answer, the same one.
          if (error.status) attempts += 1;
          throw error;
        }
      },
    }).element,
  ]);
  if (!made) return;
  done();
  await showPassword(`${made.name} is ready`, made);
  location.hash = links.tenant(made.id);
}
