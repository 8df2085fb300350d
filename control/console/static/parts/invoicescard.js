// An organisation's invoices, to look at and to download. A link could not carry the key in a header,
// so a download is fetched and handed over as a file.

import { path } from "../lib/api.js";
import { h, toast } from "../lib/dom.js";
import { money, month } from "../lib/format.js";
import { card, empty, table } from "./card.js";
import { timeElement } from "./time.js";

const KEPT_MS = 60_000;

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}

function downloads({ api, signal }, invoice) {
  const name = `invoice-${invoice.number}`;
  return h(
    "span",
    { class: "buttons" },
    ["pdf", "csv"].map((kind) => {
      const act = async () => {
        try {
          save(await api.download(path(["invoices", invoice.id, kind]), signal), `${name}.${kind}`);
        } catch (error) {
          if (!signal.aborted) toast(error.message);
        }
      };
      return h("button", { type: "button", class: "small", text: kind.toUpperCase(), "aria-label": `Download ${name} as ${kind.toUpperCase()}`, on: { click: act } });
    }),
  );
}

export async function invoicesCard(place, context, what) {
  let found;
  try {
    found = await context.api.find(path([...what, "invoices"]), context.signal);
  } catch {
    return; // The rest of the page tells that the gateway does not answer.
  }
  if (!found) return;
  const rows = found.invoices.map((each) => [
    h("strong", { text: month(each.month) }),
    each.number ?? "–",
    each.status === "draft" ? "Draft, not closed yet" : h("span", {}, "Closed ", timeElement(each.closed_at)),
    money(each.total_micros, each.currency),
    `${each.payable} ${each.currency}`,
    each.id === null ? h("span", { class: "muted", text: "when closed" }) : downloads(context, each),
  ]);
  const columns = [["Month", "first"], ["Number"], ["State", "wide"], ["Before tax", "number"], ["To pay", "number"], ["Download", "action"]];
  place.replaceChildren(card("Invoices", rows.length ? table("Invoices", columns, rows) : empty("No invoices yet", "The first one closes when the month is over.")));
}
