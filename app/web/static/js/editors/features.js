// What is edited of features: a new one, which pipeline its changes go through, and what it gives.

import { all, mutate, query } from "../api.js";
import { confirmed } from "../components/dialog.js";
import { editor, mutation } from "../components/editor.js";
import { choice, json, note, specFields, text } from "../components/fields.js";
import { PHASES, plan } from "../components/page.js";
import { specDiff } from "../components/spec-diff.js";
import { h } from "../dom.js";
import { SPEC } from "../releases-query.js";

const NOW = `query ($key: String!) {
  environments { name pipelineRequired } feature(key: $key) { kind revision spec ${SPEC} pipelineId pipeline { name ${PHASES} } }
}`;
const CREATE = mutation("createFeature", "CreateFeatureInput");
const CHANGE = mutation("updateFeature", "UpdateFeatureInput");
const ATTACH = mutation("attachPipeline", "AttachPipelineInput", "");

export const create = (end) =>
  editor({
    title: "New feature",
    fields: () => [
      text("key", "Key"),
      choice("kind", "Kind", { FEATURE_GATE: "feature gate", DYNAMIC_CONFIG: "dynamic config" }),
      note("description", "Description"),
      json("defaultValue", "Value: true or false; of a config a JSON object", false),
    ],
    ask: async () => ({}),
    save: ({ defaultValue, ...input }) => mutate(CREATE, { input: { ...input, spec: { defaultValue } } }),
    end,
  });

export async function attach(key, end) {
  const names = { "": "none: everyone gets them at once" };
  for (const { id, name } of await all("pipelines", "id name")) names[id] = name;
  return editor({
    title: "Pipeline",
    fields: ({ value: { pipelineId: id } }) => {
      if (id && !names[id]) names[id] = "one that was deleted: choose another, or none";
      return [choice("pipelineId", "Its changes go through", names)];
    },
    ask: async () => ({ value: { pipelineId: (await query(NOW, { key })).feature.pipelineId ?? "" } }),
    show: ({ pipelineId }) => h("p", names[pipelineId]),
    save: ({ pipelineId }) => mutate(ATTACH, { input: { featureKey: key, pipelineId: pipelineId || null } }),
    end,
  });
}

export const change = (key, end) =>
  editor({
    title: `Change ${key}`,
    fields: ({ kind, environments }) => specFields(kind, environments),
    async ask() {
      const { environments, feature: { spec: value, ...feature } } = await query(NOW, { key });
      return { environments, value, ...feature };
    },
    show: (after, before) => specDiff({ before, after }),
    review: ({ description, ...spec }, found) => review(key, spec, found),
    save: ({ description, ...spec }, idempotencyKey, expectedRevision) =>
      mutate(CHANGE, { input: { key, spec, description, idempotencyKey, expectedRevision } }),
    end,
  });

/** Whether a change is confirmed by somebody who is told how it will progress. */
function review(key, after, { value: before, pipelineId, pipeline, environments }) {
  const required = environments.filter((each) => each.pipelineRequired).map(({ name }) => name).join(" or ");
  const warn = (text) => h("p", { class: "notice warning" }, text);
  const told = (name) => `If it changes what anybody gets in ${required}, it goes through “${name}”; or else it is there at once.`;
  let how = warn("It goes through no pipeline: everyone gets it at once.");
  if (pipelineId && !pipeline) how = warn("The pipeline attached was deleted: attach another one first.");
  else if (pipelineId && required) how = [h("p", told(pipeline.name)), plan(pipeline.phases)];
  return confirmed({ title: `Start a release of ${key}?`, body: [specDiff({ before, after }), how], label: "Start" });
}
