// The form of a tenant's settings. Whoever saves sends the ETag of what was read: where somebody else
// was faster, nothing is overwritten; the form shows what differs and asks.

import { path } from "../lib/api.js";
import { h, toast } from "../lib/dom.js";
import { bytes, duration } from "../lib/format.js";
import { field, form, integer, Invalid, select, wholeNumber } from "../lib/forms.js";
import { card, errorNote } from "./card.js";

const IDLE = [
  ["default", "After the installation's time"],
  ["after", "After a time of its own"],
  ["never", "Never"],
];
const MIB = 1024 * 1024;

/** The fields: each reads a setting from its control and writes it there. */
function makeFields() {
  return [...idleFields(), numberField("pods_min", "Pods, at least", { hint: "Above 0: so many pods even without a session." }), numberField("pods_max", "Pods, at most", { hint: "Empty: the installation's." }), numberField("connections_max", "Connections, at most", { hint: "Empty: the installation's." }), networksField(), storageField()];
}

function idleFields() {
  const mode = field("idle_mode", "Sleeps without a statement", select(IDLE));
  const seconds = field("idle_timeout_seconds", "Seconds until it sleeps", integer(), { unit: "s" });
  const tell = () => {
    seconds.element.hidden = mode.control.value !== "after";
    const value = Number(seconds.control.value);
    seconds.setHint(value > 0 ? `That is ${duration(value)}. From 60 s to 7 days.` : "From 60 s to 7 days.");
  };
  mode.control.addEventListener("change", () => {
    tell();
    if (mode.control.value === "after" && !seconds.control.value) seconds.control.value = "300";
    tell();
  });
  seconds.control.addEventListener("input", tell);
  return [
    { ...mode, read: () => ({}), write: () => {} },
    {
      ...seconds,
      read() {
        if (mode.control.value !== "after") return { idle_timeout_seconds: mode.control.value === "never" ? "never" : null };
        const value = wholeNumber(seconds);
        if (value === null) throw new Invalid({ idle_timeout_seconds: "Use a whole number of seconds" });
        return { idle_timeout_seconds: value };
      },
      write(settings) {
        const value = settings.idle_timeout_seconds;
        mode.control.value = value === null ? "default" : value === "never" ? "never" : "after";
        seconds.control.value = typeof value === "number" ? value : "";
        tell();
      },
    },
  ];
}

function numberField(name, label, options) {
  const made = field(name, label, integer(), options);
  return {
    ...made,
    read: () => ({ [name]: wholeNumber(made) }),
    write: (settings) => (made.control.value = settings[name] ?? ""),
  };
}

function networksField() {
  const made = field("allowed_networks", "Allowed networks", h("textarea", { rows: 3, spellcheck: "false" }), { hint: "One address or network a line, as 192.0.2.0/24. Empty: from anywhere." });
  return {
    ...made,
    read: () => ({ allowed_networks: made.control.value.split(/[\s,]+/).filter(Boolean) }),
    write: (settings) => (made.control.value = settings.allowed_networks.join("\n")),
  };
}

/** There where the gateway has quotas. */
function storageField() {
  const made = field("storage_max_bytes", "Storage, at most", integer(), { unit: "MiB", hint: "Empty: no quota. At the quota writes fail with SQLSTATE 53100; deleting works." });
  made.element.hidden = true;
  let known = null;
  return {
    ...made,
    read() {
      if (made.element.hidden) return {};
      const value = wholeNumber(made);
      // What is no whole MiB was set elsewhere: left as it is unless it is changed here.
      const isSame = known !== null && String(Math.round(known / MIB)) === made.control.value.trim();
      return { storage_max_bytes: value === null ? null : isSame ? known : value * MIB };
    },
    write(settings) {
      made.element.hidden = !("storage_max_bytes" in settings);
      known = settings.storage_max_bytes ?? null;
      made.control.value = known === null ? "" : String(Math.round(known / MIB));
    },
  };
}

/** Puts the form into `place`. */
export async function settingsForm(place, { api, tenant, signal, mayWrite, refresh }) {
  const where = path(["tenants", tenant.id, "settings"]);
  const fields = makeFields();
  const conflict = h("div", { class: "conflict", role: "alert", hidden: true });
  let known;
  try {
    known = await api.read(where, signal);
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(card("Settings", errorNote(error)));
    return;
  }
  const write = (settings) => fields.forEach((each) => each.write(settings));
  const read = () => Object.assign({}, ...fields.map((each) => each.read()));
  write(known.data);
  if (!mayWrite) {
    for (const each of fields) each.control.disabled = true;
    place.replaceChildren(card("Settings", h("div", { class: "form" }, fields.map((each) => each.element))));
    return;
  }
  const made = form(fields, { label: "Save settings", save });
  place.replaceChildren(card("Settings", h("p", { class: "hint", text: "A change takes effect at once; clients from networks that are no longer allowed lose their connections." }), conflict, made.element));

  async function save() {
    conflict.hidden = true;
    const body = changed(read(), known.data);
    if (Object.keys(body).length === 0) {
      toast("Nothing was changed");
      return;
    }
    try {
      known = await api.send("PATCH", where, { body, etag: known.etag });
    } catch (error) {
      if (error.status !== 412) throw error;
      await askAbout(body);
      return;
    }
    write(known.data);
    toast("The settings are saved");
    refresh();
  }

  async function askAbout(mine) {
    const latest = await api.read(where, signal);
    const theirs = changed(latest.data, known.data);
    const names = Object.fromEntries(fields.map((each) => [each.name, each.label]));
    const lines = Object.entries(theirs).map(([name, value]) => h("li", {}, `${names[name] ?? name}: `, h("strong", { text: spoken(name, value) }), name in mine ? ` – you have ${spoken(name, mine[name])}` : ""));
    const take = h("button", { type: "button", text: "Take theirs", on: { click: () => settle(latest, latest.data) } });
    const keep = h("button", { type: "button", class: "primary", text: "Keep mine and save", on: { click: () => settle(latest, { ...latest.data, ...mine }, true) } });
    conflict.replaceChildren(h("p", {}, h("strong", { text: "Somebody else changed this tenant meanwhile." }), " Nothing was overwritten."), lines.length ? h("ul", {}, lines) : h("p", { text: "The settings are the same; its name or labels changed." }), h("div", { class: "buttons" }, keep, take));
    conflict.hidden = false;
    keep.focus();
  }

  function settle(latest, settings, isSaved = false) {
    known = latest;
    conflict.hidden = true;
    write(settings);
    fields[0].control.focus();
    if (isSaved) made.submit();
  }
}

/** What is other than before. */
function changed(settings, before) {
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name] ?? null)));
}

function spoken(name, value) {
  if (value === null) return "the default";
  if (name === "idle_timeout_seconds" && typeof value === "number") return duration(value);
  if (name === "storage_max_bytes") return bytes(value);
  if (Array.isArray(value)) return value.join(", ") || "from anywhere";
  return String(value);
}
