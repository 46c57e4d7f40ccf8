// Elements without markup: text stays text, so nothing that somebody said can become part of the page.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on` has listeners, `style` CSS properties, `data` data attributes; null children are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  set(element, props);
  element.append(...flat(children));
  return element;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.append(...flat(children));
  return element;
}

/** Replaces all content of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

let announcer;

/** Says something to screen readers without moving the focus. */
export function announce(text) {
  if (!announcer) {
    announcer = h("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    document.body.append(announcer);
  }
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = text));
}

let count = 0;

/** An id that no other element has. */
export function uniqueId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}
