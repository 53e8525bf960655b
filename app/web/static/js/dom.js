// Elements from values. Text is never taken for markup: there is no innerHTML in this page.

const PROPERTY = /^(on.*|value|checked|disabled|selected|hidden|textContent)$/;
const isShown = (child) => child !== null && child !== undefined && child !== false;

/**
 * An element, as h("p.hint", {title: "Exactly"}, "text"): attributes, some properties, listeners named on…; children
 * may be nested, or missing.
 */
export function h(name, ...rest) {
  const [tag, ...kinds] = name.split(".");
  const node = document.createElement(tag);
  if (kinds.length) node.className = kinds.join(" ");
  const given = Object.getPrototypeOf(rest[0] ?? "") === Object.prototype ? rest.shift() : {};
  replace(node, rest);
  for (const [key, value] of Object.entries(given)) {
    if (PROPERTY.test(key)) node[key] = value ?? "";
    else setAttribute(node, key, value);
  }
  return node;
}

export const link = (href, ...children) => h("a", { href }, children);

/** Give an element other children. */
export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(isShown));
}

/** Make an element like another one by touching only what differs: focus stays, and nothing is read aloud again. */
export function morph(node, wanted) {
  for (const { name } of [...node.attributes]) if (!wanted.hasAttribute(name)) node.removeAttribute(name);
  for (const { name, value } of wanted.attributes) setAttribute(node, name, value);
  node.onclick = wanted.onclick;
  const children = [...wanted.childNodes];
  children.forEach((child, index) => {
    const present = node.childNodes[index];
    if (!present) node.append(child);
    else if (present.nodeName !== child.nodeName) present.replaceWith(child);
    else if (child.nodeType === Node.TEXT_NODE) setText(present, child.data);
    else morph(present, child);
  });
  while (node.childNodes.length > children.length) node.lastChild.remove();
}

/** Write only where something changes, so that nothing else is laid out or read aloud. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (!isShown(value)) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

/** Once what is there now has been painted; soon, where nobody looks. */
export const painted = () =>
  new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 500);
  });

let ids = 0;

/** An id for labels and descriptions to refer to. */
export const uniqueId = (prefix = "id") => `${prefix}-${++ids}`;

/** A key that is sent with a change, so that sent twice it is done once. (randomUUID is for https alone.) */
export const idempotencyKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

/** Say something to whoever listens instead of looking. */
export function announce(text) {
  const region = document.getElementById("announcements");
  region.append(h("p", text));
  while (region.children.length > 5) region.firstChild.remove();
}

/** What a part of an address says. */
export function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
