// A tenant's settings, name and labels, password, and its end.

import { path } from "../lib/api.js";
import { h, toast } from "../lib/dom.js";
import { field, form, input } from "../lib/forms.js";
import { askForPassword, askToDelete } from "../parts/actions.js";
import { card } from "../parts/card.js";
import { parseLabels, writeLabels } from "../parts/labels.js";
import { settingsForm } from "../parts/settingsform.js";

export function showSettings(body, context) {
  const settings = h("div", { class: "slot" });
  body.append(settings, h("div", { class: "slot stack" }, identityCard(context), passwordCard(context), deleteCard(context)));
  settingsForm(settings, context);
}

function identityCard(context) {
  const { api, tenant, mayWrite, refresh } = context;
  const name = field("name", "Name", input({ value: tenant.name, spellcheck: "false", maxlength: 40, readonly: !mayWrite }), { hint: "Its address changes with it: old addresses stop at once, open sessions go on." });
  const area = h("textarea", { rows: 3, spellcheck: "false", readonly: !mayWrite });
  area.value = writeLabels(tenant.labels);
  const labels = field("labels", "Labels", area, { hint: "One name=value a line." });
  if (!mayWrite) return card("Name and labels", name.element, labels.element);
  let known = tenant;
  const made = form([name, labels], {
    label: "Save",
    isPrimary: false,
    save: async () => {
      const where = path(["tenants", tenant.id]);
      const { data: latest, etag } = await api.read(where);
      const isOthers = latest.name !== known.name || writeLabels(latest.labels) !== writeLabels(known.labels);
      if (isOthers) {
        known = latest;
        throw new Error(`Somebody else changed this meanwhile, to the name ${latest.name} and ${Object.keys(latest.labels).length} labels. Save again to replace that.`);
      }
      const wanted = name.control.value.trim();
      known = (await api.send("PATCH", where, { body: { ...(wanted === latest.name ? {} : { name: wanted }), labels: parseLabels(area.value) }, etag })).data;
      area.value = writeLabels(known.labels);
      toast("Saved");
      refresh();
    },
  });
  return card("Name and labels", made.element);
}

function passwordCard(context) {
  if (!context.mayWrite) return null;
  const button = h("button", { type: "button", text: "Make a new password …", on: { click: () => askForPassword(context, context.tenant) } });
  return card("Password", h("p", { class: "hint", text: `Of the role ${context.tenant.user}. Nobody can read the one it has: it is kept as a verifier alone.` }), h("div", { class: "buttons" }, button));
}

function deleteCard(context) {
  if (!context.mayWrite || context.me.scope === "tenant") return null;
  const act = async () => {
    const deleted = await askToDelete(context, context.tenant);
    if (deleted) context.onDeleted(deleted);
  };
  return card("Delete", h("p", { class: "hint", text: "Its sessions end. Its data can be brought back within the grace period." }), h("div", { class: "buttons" }, h("button", { type: "button", class: "danger quietly", text: "Delete tenant …", on: { click: act } })));
}
