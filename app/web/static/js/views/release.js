// A release: its phases, its change, its history, and the menu that steers it.

import { query, subscribe } from "../api.js";
import { exactly, time } from "../clock.js";
import { errorNotice } from "../components/errors.js";
import { menuButton } from "../components/menu.js";
import { phaseCard } from "../components/phase-card.js";
import { specDiff } from "../components/spec-diff.js";
import { eventItem, told } from "../components/timeline.js";
import { announce, h, replace, setAttribute, setText } from "../dom.js";
import { EVENT, LIVE, RELEASE } from "../releases-query.js";
import { setTitle } from "../router.js";
import { ACTIONS, STATUSES, capital, releaseTitle, waitsFor } from "../words.js";

const QUERY = `query ($id: ID!) { release(id: $id) { ${RELEASE} } }`;
const EVENTS = `subscription ($id: ID!, $after: Int!) {
  releaseEvents(releaseId: $id, after: $after) { ${EVENT} release { ${LIVE} } }
}`;

export function releaseView({ id }, outlet) {
  const heading = h("h1", "Release");
  const page = h("div");
  const problem = h("div");
  let release = null;
  let shown = null;
  let dialog = null;
  let stop = () => {};
  let isOver = false;
  let isOpening = false;
  replace(outlet, heading, problem, page);

  const last = () => release.history.at(-1).sequence;

  async function load() {
    const found = (await query(QUERY, { id })).release;
    if (isOver) return;
    if (!found) return replace(page, h("p.empty", "There is no such release."));
    apply(found);
  }

  async function begin() {
    try {
      await load();
    } catch (error) {
      return replace(page, errorNotice(error, begin));
    }
    if (!release || isOver) return;
    const variables = () => ({ id, after: last() });
    stop = subscribe(EVENTS, variables, {
      next: ({ releaseEvents: { release: now, ...event } }) => {
        const isNew = event.sequence > last();
        apply({ ...now, history: isNew ? [...release.history, event] : release.history });
        if (isNew) announce(told(event));
      },
      complete: () => Boolean(release.endedAt),
      resumed: load,
    });
  }

  /** Take what is told, unless more is known already. */
  function apply(told) {
    if (told.revision < (release?.revision ?? 0)) return;
    const history = release && release.history.length > told.history.length ? release.history : told.history;
    release = { ...release, ...told, history };
    shown ??= frame();
    requestAnimationFrame(() => shown.update(release));
    dialog?.changed(release);
  }

  /** Open the dialog of an action; its code is loaded when somebody first acts. */
  async function act(available) {
    if (isOpening || document.querySelector("dialog")) return; // clicked twice
    isOpening = true;
    const seen = release;
    try {
      const { openActionDialog } = await import("../components/action-dialog.js");
      replace(problem);
      dialog = openActionDialog(seen, available, apply);
      if (release !== seen) dialog.changed(release);
    } catch {
      replace(problem, errorNotice({ message: "The server does not answer, so nothing can be done now." }));
    }
    isOpening = false;
  }

  function frame() {
    const title = releaseTitle(release);
    setText(heading, title);
    setTitle(title);
    const status = h("span.status");
    const waits = h("p");
    const exposure = h("p.exposure");
    const end = h("p.hint");
    const approve = h("button", { type: "button", class: "primary", onclick: () => act(available("APPROVE")) });
    const menu = menuButton("Actions", () =>
      release.availableActions.map((each) => ({
        label: ACTIONS[each.action],
        reason: each.allowed ? null : each.reason,
        tone: each.action === "ABORT" ? "danger" : null,
        run: () => act(each),
      })),
    );
    const cards = release.phases.map(phaseCard);
    const timeline = h("ol.timeline");
    const available = (action) => release.availableActions.find((each) => each.action === action);
    const card = (label, ...children) => h("section.card", h("h2", label), children);
    let told = 0;
    replace(
      page,
      h("div.bar", status, waits, h("div", { class: "bar last" }, approve, menu)),
      release.description && h("p", release.description),
      h(
        "p.facts",
        h("a", { href: `/features/${release.feature.key}`, "data-link": true }, release.feature.key),
        release.pipelineId && h("a", { href: `/pipelines/${release.pipelineId}`, "data-link": true }, release.pipelineName),
        h("span", `started by ${release.startedBy.name}, `, time(release.startedAt)),
      ),
      h(
        "div.columns",
        h("div", cards.length > 0 && card("Phases", h("ol.phases", cards.map((each) => each.node))), card("Change", specDiff(release.change))),
        h("div", card("Who gets the new version now", exposure, end), card("History", timeline)),
      ),
    );

    function update(now) {
      setAttribute(status, "data-status", now.status);
      setText(status, capital(STATUSES[now.status]));
      setText(waits, now.endedAt ? "" : waitsFor(now));
      setText(exposure, now.exposure.text);
      setText(end, now.endedAt ? `Ended ${exactly(now.endedAt)}.` : now.expectedEndAt ? `Completed ${exactly(now.expectedEndAt)} if nobody acts.` : "It is not completed before somebody acts.");
      approve.hidden = !available("APPROVE").allowed;
      if (!approve.hidden) setText(approve, `Approve “${now.currentPhase.name}”`);
      now.phases.forEach((phase, index) => cards[index].update(phase, phase.id === now.currentPhase?.id));
      for (const event of now.history.slice(told)) timeline.prepend(eventItem(event));
      told = now.history.length;
    }
    return { update };
  }

  begin();
  return () => {
    isOver = true;
    stop();
  };
}
