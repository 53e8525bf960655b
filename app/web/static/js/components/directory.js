// A list of features or pipelines: a box that filters it by name, and what is under way of each, live.

import { h, link, morph, setText } from "../dom.js";
import { ROW, UNDER_WAY } from "../row-query.js";

const CHANGES = `subscription ($filter: ReleaseFilter!) { releases(filter: $filter) { ${ROW} } }`;

/**
 * What page() shows of it. `item(each)` is {id, path, name, description, facts}, `owner(release)` the id of the item that
 * a release belongs to, and `state(releases)` what is shown of those under way. `none` is said of an empty list.
 */
export function directory({ title, item, owner, state, none, ...rest }) {
  const releases = new Map(); // by owner, those under way by id
  let wanted = "";

  const isWanted = (name) => name.toLowerCase().includes(wanted);
  const cell = (id) => h("div.now", { "data-of": id }, state([...(releases.get(id)?.values() ?? [])]));

  function hear(release, body) {
    const id = owner(release);
    const own = releases.get(id) ?? new Map();
    if (release.endedAt) own.delete(release.id);
    else releases.set(id, own.set(release.id, release));
    const shown = body.querySelector(`[data-of="${CSS.escape(id)}"]`);
    if (shown) morph(shown, cell(id));
  }

  function row({ id, path, name, description, facts }) {
    const parts = [h("div.what", link(path, name), h("p", description)), h("div.facts", facts.map((each) => h("span", each)))];
    return h("li.row", { "data-name": name, hidden: !isWanted(name) }, parts, cell(id));
  }

  function filter({ target }) {
    wanted = target.value.trim().toLowerCase();
    const rows = [...target.closest("section").querySelectorAll("[data-name]")];
    for (const each of rows) each.hidden = !isWanted(each.dataset.name);
    const count = rows.filter((each) => !each.hidden).length;
    setText(target.parentNode.querySelector("[role=status]"), wanted && `${count} of ${rows.length}`);
  }

  function draw(found) {
    if (!found.length) return h("p.card.empty", none);
    const box = h("input", { type: "search", id: "wanted", placeholder: "Filter", "aria-label": `Filter ${title.toLowerCase()}`, oninput: filter });
    return h("section", h("div.bar", box, h("span.hint", { role: "status" })), h("ul", { role: "list", "aria-label": title }, found.map((each) => row(item(each)))));
  }

  return { title, draw, hear, changes: CHANGES, filter: () => ({ status: UNDER_WAY }), forget: () => releases.clear(), ...rest };
}
