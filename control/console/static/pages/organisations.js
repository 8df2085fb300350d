// The organisations of the installation.

import { makeOnce, path } from "../lib/api.js";
import { open } from "../lib/dialog.js";
import { h, toast } from "../lib/dom.js";
import { field, form, input } from "../lib/forms.js";
import { poll } from "../lib/poll.js";
import { links } from "../lib/router.js";
import { card, empty, errorNote, pageHead, table } from "../parts/card.js";
import { timeElement } from "../parts/time.js";

const EVERY_MS = 15_000;
const PAGE = 500;

export function showOrganisations(main, context) {
  const { api, signal, mayWrite } = context;
  const place = h("div");
  const create = h("button", { type: "button", class: "primary", text: "Create organisation", on: { click: () => createOrganisation(context, () => polling.now()) } });
  main.replaceChildren(pageHead("Organisations", { aside: mayWrite ? create : null }), place);
  context.setTitle("Organisations");
  let shown = "";
  const polling = poll(
    EVERY_MS,
    signal,
    async () => {
      const page = await api.get(path(["organisations"], { limit: PAGE }), signal);
      if (JSON.stringify(page) === shown) return;
      shown = JSON.stringify(page);
      const rows = page.organisations.map((each) => [h("a", { class: "name", href: links.organisation(each.id), text: each.name }), each.time_zone, timeElement(each.created_at)]);
      place.replaceChildren(h("div", { class: "card list" }, rows.length ? table("Organisations", [["Name", "first"], ["Time zone"], ["Created"]], rows) : empty("No organisations", "Tenants and keys belong to organisations.")));
      if (page.next !== null) place.append(h("p", { class: "hint", text: `The first ${PAGE} are shown.` }));
    },
    (error) => place.replaceChildren(card("Organisations", errorNote(error))),
  );
}

async function createOrganisation({ api }, done) {
  const name = field("name", "Name", input({ spellcheck: "false", autocapitalize: "none", maxlength: 63 }), { hint: "1 to 63 lower-case letters, digits and inner dashes." });
  const zone = field("time_zone", "Time zone", input({ value: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC", spellcheck: "false" }), { hint: "Its months and days begin there, as its bills have them." });
  const once = makeOnce();
  const isDone = await open("Create an organisation", (close) => [
    form([name, zone], {
      label: "Create organisation",
      more: [h("button", { type: "button", text: "Cancel", on: { click: () => close() } })],
      save: async () => {
        const body = { name: name.control.value.trim(), time_zone: zone.control.value.trim() };
        await api.send("POST", path(["organisations"]), { body, once: `${once}-${body.name}-${body.time_zone}` });
        close(true);
      },
    }).element,
  ]);
  if (isDone) toast("The organisation is made");
  done();
}
