// A form from data. A field is {name, label, make, start, show, parse}; boxes to tick have `choices`, a list `noun` and `fields`.
// What is written is kept by itself and drawn anew when a list, or what is wrong, changes; ids are the fields' paths.

import { h, replace } from "../dom.js";

export const button = (label, onclick, more) => h("button", { type: "button", onclick, ...more }, label);

const written = (fields, value) =>
  Object.fromEntries(fields.map(({ name, fields: inner, start = "", show = (each) => each }) => {
    const given = value?.[name] ?? start;
    return [name, inner ? given.map((each) => written(inner, each)) : show(given)];
  }));

/** {node, isChanged(), read(), tell(problems)}: read() is the value, or null and told at its fields what is wrong, as tell() does. */
export function form(fields, value) {
  const all = written(fields, value);
  const before = JSON.stringify(all);
  const node = h("div", { class: "fields", id: "form" });

  const parts = (fields, at, path) => fields.map((each) => (each.fields ? list : each.choices ? boxes : control)(each, at, `${path}.${each.name}`));

  function control({ name, label, make = (props) => h("input", props) }, at, path) {
    const oninput = ({ target }) => (at[name] = target.value);
    return h("div.field", h("label", { for: path }, label), make({ id: path, value: at[name], oninput }));
  }

  function boxes({ name, label, choices }, at, path) {
    const onchange = () => (at[name] = inputs.filter((each) => each.checked).map((each) => each.value));
    const inputs = choices.map((value) => h("input", { type: "checkbox", value, checked: at[name].includes(value), onchange }));
    return h("fieldset", { class: "field", id: path, tabindex: "-1" }, h("legend", label), h("div.bar", inputs.map((each) => h("label", each, each.value))));
  }

  function list(field, at, path) {
    const { name, noun, fields: inner } = field;
    const items = at[name];
    const first = (index) => `${path}.${index}.${inner[0].name}`;
    function put(place, count, added, ...focus) {
      items.splice(place, count, ...added);
      whole.replaceWith(list(field, at, path));
      focus.map((id) => document.getElementById(id)).find(Boolean).focus();
    }
    function item(each, index) {
      const title = `${noun} ${index + 1}`;
      const move = (to, sign, way) => {
        const swap = () => put(Math.min(index, to), 2, index < to ? [items[to], each] : [each, items[to]], `${path}.${to}${sign}`, first(to));
        return items[to] && button(sign, swap, { id: `${path}.${index}${sign}`, "aria-label": `Move ${way}: ${title}` });
      };
      const remove = () => put(index, 1, [], first(index), path);
      const tools = [move(index - 1, "↑", "up"), move(index + 1, "↓", "down"), button("✕", remove, { "aria-label": `Remove: ${title}` })];
      return h("div", { role: "group", class: "item", "aria-label": title }, h("div.bar", h("strong", title), tools), parts(inner, each, `${path}.${index}`));
    }
    const add = () => put(items.length, 0, [written(inner)], first(items.length));
    const whole = h("div.field", items.map(item), button(`Add ${noun}`, add, { id: path }));
    return whole;
  }

  const read = (fields, at, path, problems) =>
    Object.fromEntries(fields.map(({ name, fields: inner, parse = (text) => text }) => {
      const here = [...path, name];
      if (inner) return [name, at[name].map((each, index) => read(inner, each, [...here, index], problems))];
      try {
        return [name, parse(at[name])];
      } catch ({ message }) {
        problems.push({ path: here, message });
        return [];
      }
    }));

  /** The field nearest to a path; a spec's fields stand by themselves. */
  function nearest(path) {
    for (let at = ["form", ...path.slice(path[0] === "spec" ? 1 : 0)]; ; at.pop()) {
      const found = document.getElementById(at.join("."));
      if (found) return found;
    }
  }

  function tell(problems) {
    for (const each of node.querySelectorAll("[aria-describedby]")) ["aria-describedby", "aria-invalid"].forEach((name) => each.removeAttribute(name));
    for (const each of node.querySelectorAll(".field-error, .notice")) each.remove();
    const others = [];
    for (const { path, message } of problems) {
      const control = nearest(path);
      const id = `${control.id}!`;
      if (control === node) others.push(message);
      if (control === node || control.hasAttribute("aria-describedby")) continue;
      control.setAttribute("aria-describedby", id);
      if (control.matches("input, select, textarea")) control.setAttribute("aria-invalid", "true");
      control.closest(".field").append(h("p", { class: "field-error", id }, message));
    }
    if (problems.length) node.append(h("p", { role: "alert", class: "notice error" }, others.join(" "), " Nothing was saved."));
    node.querySelector("[aria-describedby]")?.focus();
  }

  replace(node, parts(fields, all, "form"));
  return {
    node,
    tell,
    isChanged: () => JSON.stringify(all) !== before,
    read() {
      const problems = [];
      const value = read(fields, all, [], problems);
      tell(problems);
      return problems.length ? null : value;
    },
  };
}
