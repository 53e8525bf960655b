// The features, or one: what it gives to whom, where its changes go, and the editors of both.

import { all, mutate, query } from "../api.js";
import { openDialog } from "../components/dialog.js";
import { editor, mutation } from "../components/editor.js";
import { choice, json, note, specFields, text } from "../components/fields.js";
import { button } from "../components/form.js";
import { PHASES, card, entry, list, page, plan } from "../components/page.js";
import { releaseRow } from "../components/release-row.js";
import { specDiff } from "../components/spec-diff.js";
import { h, link } from "../dom.js";
import { ROW, SPEC } from "../releases-query.js";
import { words } from "../words.js";

const NOW = `environments { name pipelineRequired } feature(key: $key) { kind description spec ${SPEC} pipeline { id name ${PHASES} }`;
const CURRENT = `query ($key: String!) { ${NOW} } }`;
const SHOWN = `query ($key: String!) { ${NOW} activeRelease { id } releases(first: 10) { edges { node { ${ROW} } } } } }`;
const CREATE = mutation("createFeature", "CreateFeatureInput");
const CHANGE = mutation("updateFeature", "UpdateFeatureInput");
const ATTACH = mutation("attachPipeline", "AttachPipelineInput", "");

const create = (end) =>
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

async function attach(key, end) {
  const names = { "": "none: everyone gets them at once" };
  for (const { id, name } of await all("pipelines", "id name")) names[id] = name;
  return editor({
    title: "Pipeline",
    fields: () => [choice("pipelineId", "Its changes go through", names)],
    ask: async () => ({ value: { pipelineId: (await query(CURRENT, { key })).feature.pipeline?.id } }),
    show: ({ pipelineId }) => h("p", names[pipelineId ?? ""]),
    save: ({ pipelineId }) => mutate(ATTACH, { input: { featureKey: key, pipelineId: pipelineId || null } }),
    end,
  });
}

const change = (key, end) =>
  editor({
    title: `Change ${key}`,
    fields: ({ kind, environments }) => specFields(kind, environments),
    async ask() {
      const { environments, feature: { spec: value, ...feature } } = await query(CURRENT, { key });
      return { environments, value, ...feature };
    },
    show: (after, before) => specDiff({ before, after }),
    review: ({ description, ...spec }, found) => review(key, spec, found),
    save: ({ description, ...spec }, idempotencyKey) => mutate(CHANGE, { input: { key, spec, description, idempotencyKey } }),
    end,
  });

/** Whether a change is confirmed by somebody who is told how it will progress. */
function review(key, after, { value: before, pipeline, environments }) {
  const required = environments.filter((each) => each.pipelineRequired).map(({ name }) => name).join(" or ");
  const how =
    pipeline && required
      ? [h("p", `If it changes what anybody gets in ${required}, it goes through “${pipeline.name}”; or else it is there at once.`), plan(pipeline.phases)]
      : h("p", { class: "notice warning" }, "It goes through no pipeline: everyone gets it at once.");
  return new Promise((resolve) => {
    const dialog = openDialog({
      title: `Start a release of ${key}?`,
      body: [specDiff({ before, after }), how],
      buttons: [button("Cancel", () => dialog.close()), h("button.primary", "Start")],
      onsubmit: () => (resolve(true), dialog.close()),
      onclose: () => resolve(false),
    });
  });
}

const row = ({ key, kind, description, pipeline }) => entry(link(`/features/${key}`, key), description ?? "", words(kind), pipeline?.name ?? "no pipeline");

const every = {
  title: "Features",
  ask: () => all("features", "key kind description pipeline { name }"),
  draw: (found) => list("Features", found.map(row)),
  actions: [["New feature", create]],
};

const busy = ({ feature }) => feature.activeRelease && "A release is under way; wait for its end, or abort it.";

const one = (key) => ({
  title: key,
  ask: () => query(SHOWN, { key }).then((found) => found.feature && found),
  filter: ({ feature }) => ({ featureKey: key, startedAfter: feature.releases.edges[1]?.node.startedAt }),
  actions: [["Change", (end) => change(key, end), busy], ["Pipeline", (end) => attach(key, end), busy]],
  draw({ environments, feature: { kind, description, spec, pipeline, activeRelease, releases } }) {
    const where = environments.map(({ name, pipelineRequired }) => entry(name, pipelineRequired && pipeline ? `changes go through ${pipeline.name}` : "changes are there at once"));
    return [
      h("p.facts", h("span", words(kind)), pipeline ? link(`/pipelines/${pipeline.id}`, pipeline.name) : "no pipeline"),
      h("p", description),
      card(activeRelease ? "Release under way, and those before" : "Releases", releases.edges.map(({ node }) => releaseRow(node))),
      h("div.columns", card("What it gives", specDiff({ before: spec, after: spec })), card("Environments", where)),
    ];
  },
});

export const featuresView = ({ key }, outlet) => page(outlet, key ? one(key) : every);
