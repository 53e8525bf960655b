// A modal dialog: the browser's own, with focus kept inside and given back at the end.

import { h, uniqueId } from "../dom.js";

const FOCUSABLE = "a[href], button:not(:disabled), input:not(:disabled), select:not(:disabled), textarea:not(:disabled)";

/**
 * Show one. `body` and `buttons` are nodes; a form's `onsubmit` gets Enter. Escape and close() end it, then `onclose`
 * is called. Returns {node, close}.
 */
export function openDialog({ title, body, buttons, onsubmit, onclose }) {
  const id = uniqueId("dialog");
  const before = document.activeElement;
  const form = h(
    "form",
    { novalidate: true, onsubmit: (event) => (event.preventDefault(), onsubmit?.()) },
    h("h2", { id }, title),
    h("div.dialog-body", body),
    h("div.buttons", buttons),
  );
  const node = h("dialog", { "aria-labelledby": id, onkeydown: keepInside }, form);
  node.addEventListener("close", () => {
    node.remove();
    onclose?.();
    const back = before?.isConnected ? before : document.querySelector("main h1");
    back?.focus();
  });
  document.body.append(node);
  node.showModal();
  return { node, close: () => node.close() };
}

function keepInside(event) {
  if (event.key !== "Tab") return;
  const nodes = [...this.querySelectorAll(FOCUSABLE)];
  const [first, last] = [nodes[0], nodes.at(-1)];
  if (event.shiftKey ? document.activeElement === first : document.activeElement === last) {
    event.preventDefault();
    (event.shiftKey ? last : first).focus();
  }
}
