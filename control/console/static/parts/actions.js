// What is done to a tenant at the press of a button, after asking where it hurts.

import { makeOnce, path } from "../lib/api.js";
import { confirm, open, secrets } from "../lib/dialog.js";
import { h, toast } from "../lib/dom.js";
import { field, form, input } from "../lib/forms.js";

export async function askToSuspend({ api }, tenant, done) {
  const count = tenant.connections ?? 0;
  const text = count ? `${count === 1 ? "One open session ends" : `${count} open sessions end`} with SQLSTATE 57P01. The next connection wakes it again.` : "The next connection wakes it again.";
  const isDone = await confirm(`Suspend ${tenant.name}?`, { text, label: "Suspend", act: () => api.send("POST", path(["tenants", tenant.id, "suspend"])) });
  if (isDone) toast(`${tenant.name} sleeps`);
  done();
}

export async function wake({ api }, tenant, done) {
  toast(`Waking ${tenant.name} …`);
  try {
    await api.send("POST", path(["tenants", tenant.id, "wake"]));
    toast(`${tenant.name} is awake`);
  } catch (error) {
    toast(error.message);
  }
  done();
}

/** Whether it was deleted. */
export async function askToDelete({ api }, tenant) {
  let until = null;
  const isDone = await confirm(`Delete ${tenant.name}?`, {
    text: "Its sessions end now and nobody can connect any more. Its data stays for the grace period, in which it can be restored.",
    label: "Delete tenant",
    isDanger: true,
    typed: tenant.name,
    act: async () => {
      until = (await api.send("DELETE", path(["tenants", tenant.id]))).data?.restorable_until ?? null;
    },
  });
  return isDone ? { until } : null;
}

/** Brings a deleted tenant back, under another name where its own is taken. */
export function askToRestore({ api }, tenant, done) {
  const name = field("name", "Name", input({ value: tenant.name, spellcheck: "false", maxlength: 40 }), { hint: "Choose another one if its own is taken by now." });
  const once = makeOnce();
  return open(`Restore ${tenant.name}?`, (close) => [
    h("p", { text: "It comes back with its data and its password." }),
    form([name], {
      label: "Restore",
      more: [h("button", { type: "button", text: "Cancel", on: { click: () => close() } })],
      save: async () => {
        const chosen = name.control.value.trim();
        const body = chosen === tenant.name ? {} : { name: chosen };
        await api.send("POST", path(["tenants", tenant.id, "restore"]), { body, once: `${once}-${chosen}` });
        toast(`${chosen} is back`);
        close(true);
      },
    }).element,
  ]).then((isDone) => {
    done(isDone);
    return isDone;
  });
}

/** Gives the tenant's first role a new password, and shows it. */
export async function askForPassword({ api }, tenant) {
  let made = null;
  const isDone = await confirm(`A new password for ${tenant.user}?`, {
    text: "The old one stops working. Open sessions go on.",
    label: "Make a new password",
    act: async () => {
      made = (await api.send("POST", path(["tenants", tenant.id, "roles", "owner", "password"]), { once: makeOnce() })).data;
    },
  });
  if (isDone) await showPassword(`New password of ${tenant.name}`, made);
}

/** What is shown once after a password was made. */
export function showPassword(title, made) {
  return secrets(title, "This is shown once and kept nowhere. Save it now.", [
    ["Password", made.password],
    ["Connection URL", made.connection_url],
    ["Connection URL, tenant in the host name", made.connection_url_sni],
  ]);
}
