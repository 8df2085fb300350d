// A table's rows by key: those that stay keep their elements, so nothing flickers, and neither focus
// nor a selection is lost when fresh numbers come.

export class Rows {
  #rows = new Map();

  /** `make(item)` gives `{element, update(item)}`; `key(item)` tells items apart. */
  constructor(body, { make, key = (item) => item.id }) {
    this.body = body;
    this.make = make;
    this.key = key;
  }

  /** Shows these items in this order. */
  set(items) {
    const kept = new Map();
    let place = this.body.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      const row = this.#rows.get(key) ?? this.make(item);
      row.update(item);
      kept.set(key, row);
      if (row.element === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.element, place);
    }
    for (const [key, row] of this.#rows) if (!kept.has(key)) row.element.remove();
    this.#rows = kept;
  }
}
