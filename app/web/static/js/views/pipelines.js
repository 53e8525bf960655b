// The pipelines, or one: its phases, and what goes through it.

import { all, query } from "../api.js";
import { directory } from "../components/directory.js";
import { PHASES, card, page, plan } from "../components/page.js";
import { releaseRow } from "../components/release-row.js";
import { h, link } from "../dom.js";
import { ROW, UNDER_WAY } from "../row-query.js";

const SHOWN = `query ($id: ID!) {
  pipeline(id: $id) { name description ${PHASES} features(first: 100) { edges { node { key } } } activeReleases { ${ROW} } }
}`;
const editors = () => import("../editors/pipelines.js");

const every = () =>
  directory({
    title: "Pipelines",
    none: "There is no pipeline yet. Make one, and attach it to features.",
    ask: () => all("pipelines", "id name description phases { name }"),
    item: ({ id, name, description, phases }) => ({
      id,
      path: `/pipelines/${id}`,
      name,
      description,
      facts: [phases.map((each) => each.name).join(" → ")],
    }),
    owner: ({ pipelineId }) => pipelineId ?? "",
    state: (all) => h("div.state", all.length > 0 && link(`/?pipeline=${all[0].pipelineId}`, `${all.length} under way`)),
    editors,
    actions: [["New pipeline", ({ edit }, end) => edit(null, end)]],
  });

const busy = ({ activeReleases }) => activeReleases.length > 0 && "Releases go through it; wait for their end.";

const one = (id) => ({
  title: "Pipeline",
  ask: async () => (await query(SHOWN, { id })).pipeline,
  filter: () => ({ pipelineId: id, status: UNDER_WAY }),
  editors,
  actions: [
    ["Edit", ({ edit }, end) => edit(id, end), busy],
    ["Delete", ({ remove }, end, found) => remove(id, found), busy],
  ],
  draw({ description, phases, features, activeReleases }) {
    const attached = features.edges.map(({ node: { key } }) => h("li", link(`/features/${key}`, key)));
    return [
      h("p", description),
      card("Releases under way", activeReleases.map(releaseRow)),
      h("div.columns", card("Phases", plan(phases)), card("Features", attached, "None is attached.")),
    ];
  },
});

export const pipelinesView = ({ id }, outlet) => page(outlet, id ? one(id) : every());
