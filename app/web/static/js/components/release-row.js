// A release in a list.

import { bakeLeft, time } from "../clock.js";
import { h, link } from "../dom.js";
import { reviews } from "../reviews.js";
import { capital, releaseTitle, waitsFor, words } from "../words.js";

/** The sign, colour and word of a status. */
export const status = (name, more = "") => h("span.status", { "data-status": name }, capital(words(name)) + more);

/** Skipped while it baked. */
const wasCutShort = (is, releasedAt) => is === "SKIPPED" && releasedAt !== null;

/** The phases side by side, coloured by status: one picture with one name. */
function strip(phases) {
  const told = phases.map(({ name, status: is, releasedAt }) => `${name} ${words(is)}${wasCutShort(is, releasedAt) ? " while it baked" : ""}`);
  const cells = phases.map(({ status: is, releasedAt }, index) =>
    h("span.phase-cell", { "data-status": is, "data-released": wasCutShort(is, releasedAt), title: told[index] }),
  );
  return h("span.strip", { role: "img", "aria-label": `Phases: ${told.join(", ") || "none"}` }, cells);
}

/** How far it is, in the last two columns of a row. */
export const progress = (release, ...more) => [
  h("div.progress", strip(release.phases), h("small", ...more, waitsFor(release))),
  h("div.state", status(release.status), h("span.bake", release.currentPhase && bakeLeft(release.currentPhase))),
];

/** The row, of a release with the fields ROW. */
export const releaseRow = (release) =>
  h(
    "li.row",
    { "data-status": release.status },
    h(
      "div.what",
      link(`/releases/${release.id}`, releaseTitle(release)),
      h("span.mine", { hidden: !reviews.has(release.id) }, "your review"),
      h("p", release.description),
    ),
    h(
      "div.facts",
      h("span", release.pipelineName ?? "no pipeline"),
      h("span", `${release.startedBy.name}, `, time(release.startedAt)),
      release.endedAt && h("span", "ended ", time(release.endedAt)),
    ),
    progress(release),
  );
