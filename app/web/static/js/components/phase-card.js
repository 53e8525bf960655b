// A phase in full: of a release, or of a pipeline, where it has no status yet.

import { bakeBar, bakeLeft, duration, time } from "../clock.js";
import { h } from "../dom.js";
import { rule } from "../words.js";
import { status } from "./release-row.js";

/** The review that it asks for: 1 of 2 approvals, by others than who started it. */
function review({ requiredApprovals: needed, approvals, preventSelfApproval }) {
  if (!needed) return "no review";
  const others = preventSelfApproval ? ", by others than who started it" : "";
  return `${approvals ? `${approvals.length} of ` : ""}${needed} approval${needed > 1 ? "s" : ""}${others}`;
}

const approval = ({ actor, at, reason }) =>
  h("li", `✓ ${actor.name} approved `, time(at), reason && `: “${reason}”`);

export function phaseCard(phase, isCurrent) {
  const { releasedAt, endedAt } = phase;
  const left = bakeLeft(phase);
  return h(
    "li.phase",
    { "data-status": phase.status ?? "NOT_RELEASED", "aria-current": isCurrent && "step" },
    h("div.bar", h("h3", phase.name), phase.status && status(phase.status, phase.reviewBypassed ? ", review bypassed" : "")),
    h("ul", phase.rules.map((each) => h("li", rule(each)))),
    h(
      "p.facts",
      h("span", `bakes ${duration(phase.bakeTime)}`),
      h("span", review(phase)),
      releasedAt && h("span", "released ", time(releasedAt)),
      endedAt && h("span", "ended ", time(endedAt)),
    ),
    h("ul.approvals", phase.approvals?.map(approval)),
    left && h("div.bake", bakeBar(phase), left),
  );
}
