// The console: who is signed in, which page is shown. Pages live in pages/, one noun each.
//
// A page is `show(main, context)`; `context.signal` aborts when it is left, and everything that polls
// or listens ends with it. A page that can show its next address itself returns `{key, navigate}`.

import { Api } from "./lib/api.js";
import { worked } from "./lib/connection.js";
import { announce, h, show } from "./lib/dom.js";
import { links, parse } from "./lib/router.js";
import * as session from "./lib/session.js";
import { themeSelect } from "./lib/theme.js";
import { showOrganisation } from "./pages/organisation.js";
import { showOrganisations } from "./pages/organisations.js";
import { showSignIn } from "./pages/signin.js";
import { showStatus } from "./pages/status.js";
import { showTenant } from "./pages/tenant.js";
import { showTenants } from "./pages/tenants.js";

const PAGES = {
  tenants: showTenants,
  tenant: showTenant,
  organisations: showOrganisations,
  organisation: showOrganisation,
  status: showStatus,
};
const main = document.getElementById("main");
const top = document.getElementById("top");

let account = null; // {api, me}
let current = { key: "", leave: () => {}, navigate: null };

/** Where a key lands first. */
function home(me) {
  return me.scope === "tenant" ? links.tenant(me.tenant) : links.tenants;
}

/** What the menu has for a key. */
function entries(me) {
  if (me.scope === "tenant") return [["tenant", "Tenant", home(me)]];
  const organisations = me.scope === "admin" ? ["organisations", "Organisations", links.organisations] : ["organisation", "Organisation", links.organisation(me.organisation)];
  const all = [["tenants", "Tenants", links.tenants], organisations];
  return me.scope === "admin" ? [...all, ["status", "Status", links.status]] : all;
}

function drawTop(route) {
  show(top, account !== null);
  if (!account) return;
  const { me } = account;
  const isHere = (page) => page === route.page || (page === "tenants" && route.page === "tenant") || (page === "organisations" && route.page === "organisation");
  const isReading = me.access === "read";
  const link = ([page, text, href]) => h("a", { href, text, "aria-current": isHere(page) ? "page" : null });
  top.replaceChildren(
    h("a", { class: "brand", href: home(me), "aria-label": "Dormouse, start page" }, h("img", { src: new URL("mark.svg", import.meta.url).pathname, alt: "", width: 24, height: 24 }), h("span", { text: "Dormouse" })),
    h("nav", { "aria-label": "Main" }, entries(me).map(link)),
    h(
      "div",
      { class: "account" },
      h("span", { class: "who", title: `API key ${me.id}, scope ${me.scope}${isReading ? ", reads only" : ""}` }, me.label, h("span", { class: "scope", text: isReading ? `${me.scope}, reads only` : me.scope })),
      themeSelect(),
      h("button", { type: "button", class: "small", text: "Sign out", on: { click: () => signOut() } }),
    ),
  );
}

function leavePage() {
  current.leave();
  current = { key: "", leave: () => {}, navigate: null };
  document.querySelectorAll("dialog").forEach((each) => each.remove());
  worked();
}

function enter(route) {
  if (current.navigate && current.key === `${route.page}/${route.id}`) {
    current.navigate(route);
    drawTop(route);
    return;
  }
  leavePage();
  const leaving = new AbortController();
  const context = { api: account.api, me: account.me, route, signal: leaving.signal, setTitle, mayWrite: account.me.access === "write" };
  current = { key: `${route.page}/${route.id}`, leave: () => leaving.abort(), navigate: null };
  main.replaceChildren();
  drawTop(route);
  current.navigate = PAGES[route.page](main, context) ?? null;
}

/** Names the page for tabs and screen readers, and puts the focus where it begins. */
function setTitle(text, { isFirst = true } = {}) {
  document.title = `${text} · Dormouse`;
  if (!isFirst) return;
  main.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function onHash() {
  if (!account) return;
  const route = parse(location.hash);
  const isAllowed = route.page !== "" && (account.me.scope === "admin" || !["organisations", "status"].includes(route.page));
  if (!isAllowed || (account.me.scope === "tenant" && route.page !== "tenant")) location.replace(home(account.me));
  else enter(route);
}

function signOut(reason = "") {
  session.forget();
  account = null;
  leavePage();
  drawTop({ page: "" });
  history.replaceState(null, "", location.pathname);
  askForKey(reason);
}

function askForKey(reason = "") {
  document.title = "Sign in · Dormouse";
  showSignIn(main, { reason, signIn });
}

/** Takes a key if it opens something. Throws what the API throws. */
async function signIn(key) {
  const api = new Api(key, () => account && signOut("Your key is no longer valid: it was revoked, or its time is over."));
  const me = await api.get("/v1/me");
  session.keep(key);
  account = { api, me };
  announce(`Signed in with the key ${me.label}`);
  onHash();
}

async function start() {
  // The addresses of this page are its own: a jump to `#main` would be one that means nothing.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  addEventListener("hashchange", onHash);
  addEventListener("dormouse:reload", () => {
    leavePage();
    onHash();
  });
  const key = session.kept();
  if (key === null) {
    askForKey();
    return;
  }
  try {
    await signIn(key);
  } catch (error) {
    if (error.status === 401) session.forget();
    askForKey(error.status === 401 ? "Your key is no longer valid." : error.message);
  }
}

start();
