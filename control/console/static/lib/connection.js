// Tells, in one place, that the gateway does not answer and when it is asked again.

import { h, setText, show } from "./dom.js";

let ticking = 0;

/** Called when a poll failed and will be tried again in `waitMs`. */
export function failed(error, waitMs, retry) {
  const place = document.getElementById("connection");
  const until = Date.now() + waitMs;
  const when = h("span", { class: "when", "aria-hidden": "true" });
  const again = h("button", { type: "button", class: "small", text: "Try now", on: { click: retry } });
  place.replaceChildren(h("span", { text: error.message }), when, again);
  show(place, true);
  clearInterval(ticking);
  const tick = () => setText(when, `Next try in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s.`);
  tick();
  ticking = setInterval(tick, 1000);
}

/** Called when the gateway has answered. */
export function worked() {
  const place = document.getElementById("connection");
  if (place.hidden) return;
  clearInterval(ticking);
  place.replaceChildren();
  show(place, false);
}
