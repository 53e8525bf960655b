// Elements from values. Text is never taken for markup: there is no innerHTML in this page.

const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "hidden", "textContent"]);
const shown = (child) => child !== null && child !== undefined && child !== false;

/**
 * An element, as h("p.hint", {title: "Exactly"}, "text"): attributes, some properties, and listeners named on…, where
 * there are any; children may be nested, or missing.
 */
export function h(name, ...rest) {
  const [tag, kind] = name.split(".");
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  const props = Object.getPrototypeOf(rest[0] ?? "") === Object.prototype ? rest.shift() : {};
  replace(node, rest);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) node[name] = value ?? "";
    else setAttribute(node, name, value === true ? "" : value);
  }
  return node;
}

/** Give an element other children. */
export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(shown));
}

/** Write only where something changes, so that nothing else is laid out or read aloud. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (!shown(value)) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

let ids = 0;

/** An id for labels and descriptions to refer to. */
export const uniqueId = (prefix = "id") => `${prefix}-${++ids}`;

/** A key that is sent with a change, so that sent twice it is done once. (randomUUID is for https alone.) */
export const idempotencyKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Say something to whoever listens instead of looking. */
export function announce(text) {
  const region = document.getElementById("announcements");
  region.append(h("p", null, text));
  while (region.children.length > 5) region.firstChild.remove();
}
