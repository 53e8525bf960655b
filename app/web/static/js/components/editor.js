// A card in which something is edited. Nobody's edits are lost: what others made of it since is shown before it is saved over.

import { announce, h, idempotencyKey, replace } from "../dom.js";
import { guardEdits } from "../router.js";
import { button, form } from "./form.js";

document.head.append(h("link", { rel: "stylesheet", href: new URL("../../forms.css", import.meta.url) }));

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** A mutation and how it may be refused. */
export const mutation = (name, input, problems = "... on ValidationFailed { fields { path message } }") =>
  `mutation ($input: ${input}!) { ${name}(input: $input) { __typename ... on Problem { message } ${problems} } }`;

/**
 * The card. `ask()` finds {value, revision, …} as it is now, `fields(found)` are its fields, `show(value, before)` tells what others made
 * of it; `review(value, found)` resolves to whether a change is confirmed; `save(value, key, revision)` mutates; `end(saved)` is called last.
 */
export async function editor({ title, fields, ask, show, review, save, end }) {
  const found = await ask();
  const parts = fields(found);
  const edited = form(parts, found.value);
  const meanwhile = h("div.fields");
  let base = found.value;
  let last, isSaving;

  function conflict(value) {
    const text = "Somebody else has changed it meanwhile, as shown here. Nothing was saved: save again to put yours in its place, or cancel.";
    replace(meanwhile, h("p", { class: "notice warning", role: "alert" }, text), show(value, base));
    base = value;
  }

  async function attempt(value) {
    let now;
    for (let seen; ;) {
      now = await ask();
      if (!same(now.value, base)) return conflict(now.value);
      if (!review || same(now, seen)) break;
      if (!(await review(value, now))) return;
      seen = now; // and look once more: confirming takes a while
    }
    if (!same(last?.value, value)) last = { value, key: idempotencyKey() };
    const { __typename: type, message, fields } = await save(value, last.key, now.revision);
    if (fields?.[0]?.path[0] === "expectedRevision") return attempt(value); // somebody was faster: look what they made of it
    if (message) return edited.tell(fields ?? [{ path: type === "AlreadyExists" ? [parts[0].name] : [], message }]);
    announce(`${title}: done.`);
    end(true);
  }

  async function onsubmit(event) {
    event.preventDefault();
    const value = isSaving ? null : edited.read();
    if (!value) return;
    isSaving = true;
    await attempt(value).catch(({ message }) => edited.tell([{ path: [], message: `${message} Saving again does nothing twice.` }]));
    isSaving = false;
  }

  const buttons = h("div.buttons", button("Cancel", () => end(false)), h("button.primary", "Save"));
  const node = h("form", { class: "card", novalidate: true, "aria-label": title, onsubmit }, h("h2", title), edited.node, meanwhile, buttons);
  guardEdits(() => node.isConnected && edited.isChanged());
  return node;
}
