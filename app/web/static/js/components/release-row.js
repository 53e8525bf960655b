// A release in a list.

import { time } from "../clock.js";
import { h, replace, setAttribute, setText } from "../dom.js";
import { STATUSES, capital, releaseTitle, waitsFor } from "../words.js";
import { bakeTimer } from "./bake-timer.js";
import { phaseStrip } from "./phase-strip.js";

/** The row: {node, update(release), setMine(whether it waits for the caller)}. */
export function releaseRow(release) {
  const strip = phaseStrip(release.phases);
  const timer = bakeTimer();
  const status = h("span.status");
  const waits = h("small");
  const mine = h("span", { class: "mine", hidden: true }, "your review");
  const ended = h("span", { hidden: true });
  const title = h("a", { href: `/releases/${release.id}`, "data-link": true }, releaseTitle(release));
  const node = h(
    "li.row",
    h("div.what", title, mine, release.description && h("p", release.description)),
    h(
      "div.facts",
      h("span", release.pipelineName ?? "no pipeline"),
      h("span", `${release.startedBy.name}, `, time(release.startedAt)),
      ended,
    ),
    h("div.progress", strip.node, waits),
    h("div.state", status, timer.node),
  );

  function update(changed) {
    strip.update(changed.phases);
    timer.update(changed.currentPhase);
    setAttribute(status, "data-status", changed.status);
    setText(status, capital(STATUSES[changed.status]));
    setText(waits, changed.endedAt ? "" : waitsFor(changed));
    if (changed.endedAt && ended.hidden) {
      replace(ended, "ended ", time(changed.endedAt));
      ended.hidden = false;
    }
  }

  update(release);
  return { node, update, setMine: (is) => (mine.hidden = !is) };
}
