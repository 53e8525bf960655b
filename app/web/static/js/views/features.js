// The features, or one: what it gives to whom, and where its changes go.

import { all, query } from "../api.js";
import { directory } from "../components/directory.js";
import { card, page } from "../components/page.js";
import { progress, releaseRow } from "../components/release-row.js";
import { specDiff } from "../components/spec-diff.js";
import { h, link } from "../dom.js";
import { SPEC } from "../releases-query.js";
import { ROW } from "../row-query.js";
import { releaseTitle, words } from "../words.js";

const SHOWN = `query ($key: String!) {
  environments { name pipelineRequired }
  feature(key: $key) {
    kind description spec ${SPEC} pipelineId pipeline { id name } activeRelease { id } releases(first: 10) { edges { node { ${ROW} } } }
  }
}`;
const DELETED = "its pipeline was deleted";
const editors = () => import("../editors/features.js");

const every = () =>
  directory({
    title: "Features",
    none: "There is no feature yet. Make one, and attach a pipeline to it.",
    ask: () => all("features", "key kind description pipelineId pipeline { name }"),
    item: ({ key, kind, description, pipelineId, pipeline }) => ({
      id: key,
      path: `/features/${key}`,
      name: key,
      description,
      facts: [words(kind), pipeline?.name ?? (pipelineId ? DELETED : "no pipeline")],
    }),
    owner: ({ feature }) => feature.key,
    state: ([release]) => release && progress(release, h("a", { href: `/releases/${release.id}`, "aria-label": releaseTitle(release) }, `#${release.number}`), " "),
    editors,
    actions: [["New feature", ({ create }, end) => create(end)]],
  });

const busy = ({ feature }) => feature.activeRelease && "A release is under way; wait for its end, or abort it.";

const one = (key) => ({
  title: key,
  ask: () => query(SHOWN, { key }).then((found) => found.feature && found),
  filter: ({ feature }) => ({ featureKey: key, startedAfter: feature.releases.edges[1]?.node.startedAt }),
  editors,
  actions: [
    ["Change", ({ change }, end) => change(key, end), busy],
    ["Pipeline", ({ attach }, end) => attach(key, end), busy],
  ],
  draw({ environments, feature: { kind, description, spec, pipelineId, pipeline, activeRelease, releases } }) {
    const isDeleted = pipelineId && !pipeline;
    const how = (isRequired) => (isRequired && pipelineId ? (pipeline ? `changes go through ${pipeline.name}` : DELETED) : "changes are there at once");
    const where = environments.map(({ name, pipelineRequired }) => h("li", h("strong", name), " ", h("span.hint", how(pipelineRequired))));
    return [
      h("p.facts", h("span", words(kind)), pipeline ? link(`/pipelines/${pipeline.id}`, pipeline.name) : h("span", isDeleted ? DELETED : "no pipeline")),
      isDeleted && h("p", { class: "notice warning" }, "The pipeline attached to it was deleted. Attach another or detach it before you change it."),
      h("p", description),
      card(activeRelease ? "Release under way, and those before" : "Releases", releases.edges.map(({ node }) => releaseRow(node)), "It has never been changed."),
      h("div.columns", card("What it gives", specDiff({ before: spec, after: spec })), card("Environments", where)),
    ];
  },
});

export const featuresView = ({ key }, outlet) => page(outlet, key ? one(key) : every());
