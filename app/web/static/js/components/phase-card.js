// A phase of a release, in full.

import { duration, time } from "../clock.js";
import { h, replace, setAttribute, setText } from "../dom.js";
import { STATUSES, capital, rule } from "../words.js";
import { bakeTimer } from "./bake-timer.js";

/** The card: {node, update(phase, whether it is the current one)}. */
export function phaseCard() {
  const status = h("span.status");
  const name = h("h3");
  const body = h("div");
  const timer = bakeTimer({ bar: true });
  const node = h("li.phase", h("div.bar", name, status), body, timer.node);
  let shown = null;

  function update(phase, isCurrent) {
    setAttribute(node, "data-status", phase.status);
    setAttribute(node, "aria-current", isCurrent && "step");
    setAttribute(status, "data-status", phase.status);
    setText(name, phase.name);
    setText(status, capital(STATUSES[phase.status]) + (phase.reviewBypassed ? ", review bypassed" : ""));
    timer.update(phase);
    const now = JSON.stringify({ ...phase, bakeRemaining: null });
    if (now !== shown) replace(body, details(phase));
    shown = now;
  }
  return { node, update };
}

function details(phase) {
  const { requiredApprovals: needed, approvals, preventSelfApproval, releasedAt, endedAt } = phase;
  const review = needed
    ? `${approvals.length} of ${needed} approval${needed > 1 ? "s" : ""}${preventSelfApproval ? ", by others than who started it" : ""}`
    : "no review";
  return [
    h("ul", phase.rules.map((each) => h("li", rule(each)))),
    h(
      "p.facts",
      h("span", `bakes ${duration(phase.bakeTime)}`),
      h("span", review),
      releasedAt && h("span", "released ", time(releasedAt)),
      endedAt && h("span", "ended ", time(endedAt)),
    ),
    approvals.length > 0 &&
      h("ul.approvals", approvals.map(({ actor, at, reason }) =>
        h("li", `✓ ${actor.name} approved `, time(at), reason && `: “${reason}”`))),
  ];
}
