// Which releases are shown: by status, feature and pipeline, kept in the address so that it can be passed on.

import { all } from "../api.js";
import { h } from "../dom.js";
import { capital, words } from "../words.js";

const STATUSES = ["WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED", "COMPLETED", "ABORTED"];

/** The fields: {node, chosen(): {status, feature, pipeline}, load(), which offers all features and pipelines}. */
export function releaseFilter(onchange) {
  const given = new URLSearchParams(location.search);

  function select(name) {
    const node = h("select", { id: `by-${name}`, name, onchange: change }, h("option", { value: "" }, "all"));
    if (given.get(name)) offer(node, given.get(name), given.get(name));
    node.value = given.get(name) ?? "";
    return node;
  }

  /** Offer a choice, or name one that was chosen before it was offered. */
  function offer(node, value, label) {
    const option = [...node.options].find((each) => each.value === value);
    if (option) option.textContent = label;
    else node.append(h("option", { value }, label));
  }

  const [status, feature, pipeline] = ["status", "feature", "pipeline"].map(select);
  STATUSES.forEach((each) => offer(status, each, capital(words(each))));
  const field = (node) => h("div.field", h("label", { for: node.id }, capital(node.name)), node);
  const form = h("form.bar", { role: "search", "aria-label": "Filter" }, [status, feature, pipeline].map(field));

  function change() {
    const set = [...new FormData(form)].filter(([, value]) => value);
    history.replaceState(null, "", location.pathname + (set.length ? `?${new URLSearchParams(set)}` : ""));
    onchange();
  }

  async function load() {
    const [features, pipelines] = await Promise.all([all("features", "key"), all("pipelines", "id name")]);
    for (const { key } of features) offer(feature, key, key);
    for (const { id, name } of pipelines) offer(pipeline, id, name);
  }
  return { node: form, chosen: () => ({ status: status.value, feature: feature.value, pipeline: pipeline.value }), load };
}
