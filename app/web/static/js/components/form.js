// A form from data. A field is {name, label, make, start, show, parse}; boxes to tick have `choices`, a list `noun` and `fields`.
// What is written is kept by itself and drawn anew when a list, or what is wrong, changes; ids are the fields' paths.

import { h, replace } from "../dom.js";

export const button = (label, onclick, more) => h("button", { type: "button", onclick, ...more }, label);

const written = (fields, value) =>
  Object.fromEntries(fields.map(({ name, fields: inner, start = "", show = (each) => each }) => {
    const given = value?.[name] ?? start;
    return [name, inner ? given.map((each) => written(inner, each)) : show(given)];
  }));

/** {node, read(), refuse(problems)}: read() is the value, or null and told at its fields what is wrong; so does refuse(). */
export function form(fields, value) {
  const all = written(fields, value);
  const errors = new Map();
  const node = h("div.fields");

  function draw(...focus) {
    const alert = errors.size > 0 && h("p", { role: "alert", class: "notice error" }, errors.get("form"), " Nothing was saved.");
    replace(node, parts(fields, all, "form"), alert);
    focus.map((id) => document.getElementById(id)).find(Boolean)?.focus();
  }

  const parts = (fields, at, path) => fields.map((each) => (each.fields ? list : each.choices ? boxes : control)(each, at, `${path}.${each.name}`));
  const described = (path) => errors.has(path) && { "aria-describedby": `${path}!` };
  const wrong = (path) => errors.has(path) && h("p", { class: "field-error", id: `${path}!` }, errors.get(path));

  function control({ name, label, make = (props) => h("input", props) }, at, path) {
    const props = { id: path, value: at[name], oninput: ({ target }) => (at[name] = target.value), "aria-invalid": errors.has(path) && "true", ...described(path) };
    return h("div.field", h("label", { for: path }, label), make(props), wrong(path));
  }

  function boxes({ name, label, choices }, at, path) {
    const onchange = () => (at[name] = inputs.filter((each) => each.checked).map((each) => each.value));
    const inputs = choices.map((value) => h("input", { type: "checkbox", value, checked: at[name].includes(value), onchange }));
    const bar = h("div.bar", inputs.map((each) => h("label", each, each.value)));
    return h("fieldset", { class: "field", id: path, tabindex: "-1", ...described(path) }, h("legend", label), bar, wrong(path));
  }

  function list({ name, noun, fields: inner }, at, path) {
    const items = at[name];
    const first = (index) => `${path}.${index}.${inner[0].name}`;
    function put(place, count, added, ...focus) {
      items.splice(place, count, ...added);
      for (const each of errors.keys()) if (each.startsWith(path)) errors.delete(each);
      draw(...focus);
    }
    function item(each, index) {
      const title = `${noun} ${index + 1}`;
      const here = `${path}.${index}`;
      const up = () => put(index - 1, 2, [each, items[index - 1]], `${path}.${index - 1}↑`, first(index - 1));
      const remove = () => put(index, 1, [], first(index), path);
      const tools = [index > 0 && button("↑", up, { id: `${here}↑`, "aria-label": `Move up: ${title}` }), button("✕", remove, { "aria-label": `Remove: ${title}` })];
      return h("div", { role: "group", class: "item", "aria-label": title }, h("div.bar", h("strong", title), tools), parts(inner, each, here));
    }
    const add = () => put(items.length, 0, [written(inner)], first(items.length));
    return h("div.field", items.map(item), button(`Add ${noun}`, add, { id: path, ...described(path) }), wrong(path));
  }

  const read = (fields, at, path) =>
    Object.fromEntries(fields.map(({ name, fields: inner, parse = (text) => text }) => {
      const here = `${path}.${name}`;
      if (inner) return [name, at[name].map((each, index) => read(inner, each, `${here}.${index}`))];
      try {
        return [name, parse(at[name])];
      } catch (error) {
        errors.set(here, error.message);
        return [];
      }
    }));

  /** Show what is wrong, and go to the first of it. */
  function tell() {
    draw();
    document.getElementById(node.querySelector(".field-error")?.id.slice(0, -1))?.focus();
  }

  /** The id of the field nearest to a path; a spec's fields stand by themselves. */
  function nearest(path) {
    const at = ["form", ...path.slice(path[0] === "spec" ? 1 : 0)];
    while (at.length > 1 && !document.getElementById(at.join("."))) at.pop();
    return at.join(".");
  }

  draw();
  return {
    node,
    read() {
      errors.clear();
      const value = read(fields, all, "form");
      tell();
      return errors.size ? null : value;
    },
    refuse(problems) {
      for (const { path, message } of problems.toReversed()) errors.set(nearest(path), message);
      tell();
    },
  };
}
