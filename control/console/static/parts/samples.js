// What was seen of a tenant since its page was opened, for the charts: bounded, oldest first.

export const SPAN_SECONDS = 300;
const SAMPLES_MAX = 400;
const GAP_SECONDS = 15;

const PICTURE = ["cpu_percent", "request_units_per_second", "pods"];

export class Samples {
  times = [];
  values = Object.fromEntries([...PICTURE, "storage"].map((name) => [name, []]));
  #storage = null;

  /** The newest number of stored bytes; it stands until the next one. */
  setStorage(bytes) {
    if (this.#storage === null) this.values.storage.fill(bytes);
    this.#storage = bytes;
  }

  add(second, picture) {
    const last = this.times.at(-1);
    // The tab was hidden: a gap is drawn as one.
    if (last !== undefined && second - last > GAP_SECONDS) this.#push(last + 1, {}, null);
    this.#push(second, picture, this.#storage);
    const old = this.times.findIndex((each) => each >= second - SPAN_SECONDS * 1.1);
    const surplus = Math.max(old, this.times.length - SAMPLES_MAX, 0);
    this.times.splice(0, surplus);
    for (const values of Object.values(this.values)) values.splice(0, surplus);
  }

  #push(second, picture, storage) {
    this.times.push(second);
    for (const name of PICTURE) this.values[name].push(picture[name] ?? null);
    this.values.storage.push(storage);
  }
}
