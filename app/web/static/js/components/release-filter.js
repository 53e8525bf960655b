// Which releases are shown: by status, feature and pipeline, kept in the address so that it can be passed on.

import { all } from "../api.js";
import { h, replace } from "../dom.js";
import { STATUSES, capital } from "../words.js";

const CHOICES = ["WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED", "COMPLETED", "ABORTED"];
const COLLATOR = new Intl.Collator();
const WRITTEN_AFTER_MS = 100;
const FEATURES = `query ($after: String) {
  features(first: 100, after: $after) { edges { node { key } } pageInfo { hasNextPage endCursor } }
}`;
const PIPELINES = `query ($after: String) {
  pipelines(first: 100, after: $after) { edges { node { id name } } pageInfo { hasNextPage endCursor } }
}`;

/** The fields: {node, matches(release), admits(statuses), forServer(statuses), offer(release), load()}. */
export function releaseFilter(onchange) {
  const given = new URLSearchParams(location.search);
  const chosen = { status: given.get("status"), feature: given.get("feature"), pipeline: given.get("pipeline") };
  const known = { feature: new Map(), pipeline: new Map() };

  let writing = null;

  function select(name, label, options) {
    const node = h(
      "select",
      { id: `filter-${name}`, onchange: () => choose(name, node.value) },
      h("option", { value: "" }, "all"),
      options,
    );
    node.value = chosen[name] ?? "";
    return { node, field: h("div.field", h("label", { for: `filter-${name}` }, label), node) };
  }

  const status = select("status", "Status", CHOICES.map((each) => h("option", { value: each }, capital(STATUSES[each]))));
  const fields = { status, feature: select("feature", "Feature", []), pipeline: select("pipeline", "Pipeline", []) };

  function choose(name, value) {
    chosen[name] = value || null;
    const set = Object.entries(chosen).filter(([, each]) => each);
    const search = new URLSearchParams(set).toString();
    history.replaceState(null, "", location.pathname + (search && `?${search}`));
    onchange();
  }

  /** Offer a choice; the fields are written once for many of them. */
  function add(name, value, label) {
    if (!value || known[name].has(value)) return;
    known[name].set(value, label);
    writing ??= setTimeout(write, WRITTEN_AFTER_MS);
  }

  function write() {
    writing = null;
    for (const [name, choices] of Object.entries(known)) {
      const { node } = fields[name];
      if (node.options.length === choices.size + 1) continue;
      const sorted = [...choices].sort(([, one], [, other]) => COLLATOR.compare(one, other));
      replace(node, node.options[0], sorted.map(([value, label]) => h("option", { value }, label)));
      node.value = chosen[name] ?? "";
    }
  }

  if (chosen.feature) add("feature", chosen.feature, chosen.feature);

  return {
    node: h("div", { class: "bar filter", role: "search", "aria-label": "Filter" }, Object.values(fields).map((each) => each.field)),
    matches: ({ status: is, feature, pipelineId }) =>
      (!chosen.status || chosen.status === is) &&
      (!chosen.feature || chosen.feature === feature.key) &&
      (!chosen.pipeline || chosen.pipeline === pipelineId),
    admits: (statuses) => !chosen.status || statuses.includes(chosen.status),
    forServer: (statuses) => ({
      status: statuses.includes(chosen.status) ? [chosen.status] : statuses,
      featureKey: chosen.feature,
      pipelineId: chosen.pipeline,
    }),
    offer({ feature, pipelineId, pipelineName }) {
      add("feature", feature.key, feature.key);
      add("pipeline", pipelineId, pipelineName);
    },
    async load() {
      const [features, pipelines] = await Promise.all([all(FEATURES), all(PIPELINES)]).catch(() => [[], []]);
      features.forEach(({ key }) => add("feature", key, key));
      pipelines.forEach(({ id, name }) => add("pipeline", id, name));
    },
  };
}
