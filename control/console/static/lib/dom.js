// Elements, made without any HTML text: names of tenants, labels and errors are other people's words.

/** An element. `properties`: `class`, `text`, `on` (handlers by event), `data`, else attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Changes the text only where it differs: what is read out or selected is left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Says something to those who do not see the page. */
export function announce(text) {
  setText(document.getElementById("announcer"), text);
}

let fading = 0;

/** Says something to everybody, for a few seconds. */
export function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => {
    place.classList.remove("shown");
    place.textContent = "";
  }, 4000);
}

let lastId = 0;

/** An id for `for`, `aria-describedby` and their like. */
export function makeId(stem) {
  lastId += 1;
  return `${stem}-${lastId}`;
}
