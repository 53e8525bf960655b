// Which releases are shown: by status, feature and pipeline, kept in the address so that it can be passed on.

import { all } from "../api.js";
import { h } from "../dom.js";
import { capital, words } from "../words.js";

const STATUSES = ["WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED", "COMPLETED", "ABORTED"];

/** The fields: {node, chosen(): {status, feature, pipeline}, load(), which offers all features and pipelines}. */
export function releaseFilter(onchange) {
  const form = h("form.bar", { role: "search", "aria-label": "Filter", onchange: change });
  const given = Object.fromEntries(new URLSearchParams(location.search));
  const chosen = () => Object.fromEntries(new FormData(form));

  /** Fill a field with choices, [value, label] each. */
  function offer(name, choices) {
    const select = form.elements[name];
    const value = select.value || given[name] || "";
    if (value && !choices.some(([each]) => each === value)) choices.push([value, value]);
    select.replaceChildren(...[["", "all"], ...choices].map(([each, label]) => h("option", { value: each }, label)));
    select.value = value;
  }

  function change() {
    const set = Object.entries(chosen()).filter(([, value]) => value);
    history.replaceState(null, "", location.pathname + (set.length ? `?${new URLSearchParams(set)}` : ""));
    onchange();
  }

  async function load() {
    const [features, pipelines] = await Promise.all([all("features", "key"), all("pipelines", "id name")]);
    offer("feature", features.map(({ key }) => [key, key]));
    offer("pipeline", pipelines.map(({ id, name }) => [id, name]));
  }

  for (const name of ["status", "feature", "pipeline"]) {
    form.append(h("div.field", h("label", { for: `by-${name}` }, capital(name)), h("select", { id: `by-${name}`, name })));
    offer(name, name === "status" ? STATUSES.map((each) => [each, capital(words(each))]) : []);
  }
  return { node: form, chosen, load };
}
