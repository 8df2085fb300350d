// Labels as people write them: one `name=value` a line.

import { Invalid } from "../lib/forms.js";

/** Throws Invalid where two lines have one name. */
export function parseLabels(text) {
  const labels = Object.create(null); // `__proto__` is a name like any other
  for (const line of text.split("\n").map((each) => each.trim()).filter(Boolean)) {
    const [name, ...rest] = line.split("=");
    if (Object.hasOwn(labels, name.trim())) throw new Invalid({ labels: `${name.trim()} is there twice` });
    labels[name.trim()] = rest.join("=").trim();
  }
  return labels;
}

export function writeLabels(labels) {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join("\n");
}
