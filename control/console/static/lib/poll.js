// Asks again and again: never while the tab is hidden, more and more seldom while there is no answer.
//
//     ok ──every──▶ ok        failed ──2 s, 4 s, 8 s … 30 s──▶ ok | failed
//
// A task that fails for good (a tenant that is gone) is told to `onEnd`, and is not asked again.

import { failed, worked } from "./connection.js";

const BACKOFF_MS = 2_000;
const BACKOFF_MS_MAX = 30_000;
const SPREAD = 0.2;

/** How long to wait after so many failures in a row; what the gateway says goes before. */
export function backoff(failures, retryMs, random = Math.random) {
  const wait = Math.min(BACKOFF_MS * 2 ** (failures - 1), BACKOFF_MS_MAX);
  return Math.max(retryMs ?? 0, wait * (1 + SPREAD * random()));
}

/** Runs `task(signal)` at once and every `everyMs` until `signal` aborts. Returns `{now}`. */
export function poll(everyMs, signal, task, onEnd = () => {}) {
  let timer = 0;
  let failures = 0;
  let isRunning = false;
  let isOver = false;

  async function run() {
    clearTimeout(timer);
    if (isRunning || isOver || signal.aborted) return;
    if (document.hidden) return;
    isRunning = true;
    let wait = everyMs;
    try {
      await task(signal);
      failures = 0;
      worked();
    } catch (error) {
      if (signal.aborted) return;
      if (!error.isPassing) {
        isOver = true;
        onEnd(error);
        return;
      }
      failures += 1;
      wait = backoff(failures, error.retryMs);
      failed(error, wait, run);
    } finally {
      isRunning = false;
    }
    timer = setTimeout(run, wait);
  }

  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
  return { now: run };
}
