// What a tenant is doing just now, in a word, with a mark that does not depend on colour alone.

import { h, setAttribute, setText } from "../lib/dom.js";

const WORDS = {
  asleep: "Asleep",
  waking: "Waking",
  running: "Running",
  draining: "Draining",
  deleted: "Deleted",
  unknown: "Unknown",
};
const MEANINGS = {
  asleep: "No pod runs; the first query wakes it",
  waking: "A pod is being given to it",
  running: "Pods take sessions",
  draining: "Its sessions move or end",
  deleted: "Its data is kept until the grace period is over",
  unknown: "The autoscaler does not answer",
};

/** `{element, update(state)}` */
export function stateBadge() {
  const word = h("span");
  const element = h("span", { class: "state" }, h("span", { class: "dot", "aria-hidden": "true" }), word);
  return {
    element,
    update(state) {
      setAttribute(element, "data-state", state);
      setAttribute(element, "title", MEANINGS[state] ?? "");
      setText(word, WORDS[state] ?? state);
    },
  };
}

/** "2 + 3 parked": sessions with a pod, and those that wait without one. */
export function sessions(tenant) {
  if (tenant.connections === null) return "–";
  return tenant.parked ? `${tenant.connections} + ${tenant.parked} parked` : String(tenant.connections);
}

/** "1 of 2": pods, and how many its load asks for where that differs. */
export function pods(tenant) {
  if (tenant.pods === null) return "–";
  return tenant.pods_wanted !== null && tenant.pods_wanted !== tenant.pods ? `${tenant.pods} of ${tenant.pods_wanted}` : String(tenant.pods);
}
