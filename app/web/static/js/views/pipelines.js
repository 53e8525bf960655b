// The pipelines, or one: its phases, what goes through it, and its editor.

import { all, mutate, query } from "../api.js";
import { editor, mutation } from "../components/editor.js";
import { pipelineFields } from "../components/fields.js";
import { PHASES, card, entry, list, page, plan } from "../components/page.js";
import { releaseRow } from "../components/release-row.js";
import { h, link } from "../dom.js";
import { ROW } from "../releases-query.js";

const NOW = `query ($id: ID!) { environments { name } pipeline(id: $id) { name description ${PHASES} } }`;
const SHOWN = `query ($id: ID!) {
  pipeline(id: $id) { name description ${PHASES} features(first: 100) { edges { node { key } } } activeReleases { ${ROW} } }
}`;
const CREATE = mutation("createPipeline", "CreatePipelineInput");
const UPDATE = mutation("updatePipeline", "UpdatePipelineInput");

/** The editor of a pipeline; without an id, of a new one. */
const edit = (id, end) =>
  editor({
    title: id ? "Edit the pipeline" : "New pipeline",
    fields: ({ environments }) => pipelineFields(environments),
    async ask() {
      const { environments, pipeline: value } = await query(NOW, { id: id ?? "" });
      return { environments, value };
    },
    show: (now) => now && [h("strong", now.name), h("p", now.description), plan(now.phases)],
    save: (input) => (id ? mutate(UPDATE, { input: { id, ...input } }) : mutate(CREATE, { input })),
    end,
  });

const row = ({ id, name, phases }) => entry(link(`/pipelines/${id}`, name), phases.map((each) => each.name).join(" → "));

const every = {
  title: "Pipelines",
  ask: () => all("pipelines", "id name phases { name }"),
  draw: (found) => list("Pipelines", found.map(row)),
  actions: [["New pipeline", (end) => edit(null, end)]],
};

const one = (id) => ({
  title: "Pipeline",
  ask: async () => (await query(SHOWN, { id })).pipeline,
  filter: () => ({ pipelineId: id, status: ["WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED"] }),
  actions: [["Edit", (end) => edit(id, end), ({ activeReleases }) => activeReleases.length > 0 && "Releases go through it; wait for their end."]],
  draw({ description, phases, features, activeReleases }) {
    const attached = features.edges.map(({ node: { key } }) => entry(link(`/features/${key}`, key)));
    return [
      h("p", description),
      h("div.columns", card("Phases", plan(phases)), card("Features", attached)),
      card("Releases under way", activeReleases.map(releaseRow)),
    ];
  },
});

export const pipelinesView = ({ id }, outlet) => page(outlet, id ? one(id) : every);
