// A modal dialog: the browser's own, which keeps the focus inside and gives it back at the end.

import { h, uniqueId } from "../dom.js";

/** Whether somebody confirms what the dialog says. */
export const confirmed = ({ title, body, label, tone = "primary" }) =>
  new Promise((resolve) => {
    const dialog = openDialog({
      title,
      body,
      buttons: [h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { class: tone }, label)],
      onsubmit: () => (resolve(true), dialog.close()),
      onclose: () => resolve(false),
    });
  });

/**
 * Show one. `body` and `buttons` are nodes; a form's `onsubmit` gets Enter. Escape and close() end it, then `onclose`
 * is called. Returns {node, close}.
 */
export function openDialog({ title, body, buttons, onsubmit, onclose }) {
  const id = uniqueId("dialog");
  const submit = (event) => {
    event.preventDefault();
    onsubmit?.();
  };
  const close = () => {
    node.remove();
    onclose?.();
  };
  const form = h("form", { novalidate: true, onsubmit: submit }, h("h2", { id }, title), body, h("div.buttons", buttons));
  const node = h("dialog", { "aria-labelledby": id, onclose: close }, form);
  document.body.append(node);
  node.showModal();
  return { node, close: () => node.close() };
}
