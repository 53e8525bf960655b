// A release: its phases, its change, its history, and the menu that steers it.

import { query, subscribe } from "../api.js";
import { time } from "../clock.js";
import { errorNotice } from "../components/errors.js";
import { menuButton } from "../components/menu.js";
import { phaseCard } from "../components/phase-card.js";
import { status } from "../components/release-row.js";
import { specDiff } from "../components/spec-diff.js";
import { timeline } from "../components/timeline.js";
import { announce, h, link, morph, replace, setText } from "../dom.js";
import { EVENT, LIVE, RELEASE } from "../releases-query.js";
import { setTitle } from "../router.js";
import { actionName, event as told, releaseTitle, waitsFor } from "../words.js";

const QUERY = `query ($id: ID!) { release(id: $id) { ${RELEASE} } }`;
const EVENTS = `subscription ($id: ID!, $after: Int!) {
  releaseEvents(releaseId: $id, after: $after) { ${EVENT} release { ${LIVE} } }
}`;

export function releaseView({ id }, outlet) {
  const heading = h("h1", "Release");
  const [state, body, problem] = [h("div.bar"), h("div"), h("div")];
  const menu = menuButton("Actions", () =>
    release.availableActions.map(({ action, allowed, reason }) => ({
      label: actionName(action),
      reason: allowed ? null : reason,
      tone: action === "ABORT" && "danger",
      run: () => act(action),
    })),
  );
  let release = null;
  let dialog = null;
  let stop = () => {};
  let isOver = false;
  let isOpening = false;
  menu.hidden = true;
  replace(outlet, h("div.bar.title", heading, state, menu), problem, body);

  const last = () => release.history.at(-1).sequence;

  async function load() {
    const found = (await query(QUERY, { id })).release;
    if (found) apply(found);
    else replace(body, h("p.empty", "There is no such release."));
  }

  async function begin() {
    replace(problem);
    try {
      await load();
    } catch (error) {
      return replace(problem, errorNotice(error, begin));
    }
    if (!release || isOver) return;
    setText(heading, releaseTitle(release));
    setTitle(releaseTitle(release));
    stop = subscribe(EVENTS, () => ({ id, after: last() }), { next: hear, complete: () => Boolean(release.endedAt), resumed: load });
  }

  function hear({ releaseEvents: { release: now, ...event } }) {
    const isNew = event.sequence > last();
    apply({ ...now, history: isNew ? [...release.history, event] : release.history });
    if (isNew) announce(told(event));
  }

  /** Take what is told, unless more is known already. */
  function apply(news) {
    if (isOver || news.revision < release?.revision) return;
    const history = release?.history.length > news.history.length ? release.history : news.history;
    release = { ...release, ...news, history };
    menu.hidden = false;
    morph(state, h("div.bar", stateOf(release, () => act("APPROVE"))));
    morph(body, h("div", partsOf(release)));
    dialog?.changed(release);
  }

  /** Open the dialog of an action; its code is loaded when somebody first acts. */
  async function act(action) {
    if (isOpening || document.querySelector("dialog")) return; // clicked twice
    isOpening = true;
    const seen = release;
    replace(problem);
    try {
      const { openActionDialog } = await import("../components/action-dialog.js");
      dialog = await openActionDialog(seen, action, apply);
      if (isOver) dialog.close();
      else dialog.changed(release);
    } catch {
      replace(problem, errorNotice({ message: "The server does not answer, so nothing can be done now." }));
    }
    isOpening = false;
  }

  begin();
  return () => {
    isOver = true;
    stop();
    dialog?.close();
  };
}

/** How it stands, and the button for what waits for the caller. */
function stateOf(release, approve) {
  const canApprove = release.availableActions.some(({ action, allowed }) => action === "APPROVE" && allowed);
  return [
    status(release.status),
    h("p", waitsFor(release)),
    canApprove && h("button.primary", { type: "button", onclick: approve }, `Approve “${release.currentPhase.name}”`),
  ];
}

/** By environment, where there are several. */
const exposedIn = ({ environments: all }) =>
  all.length > 1 && h("ul", all.map(({ text }) => h("li.hint", text)));

function partsOf(release) {
  const { description, exposure, feature, pipelineId, pipelineName, startedBy, startedAt, endedAt, expectedEndAt } = release;
  const card = (label, ...children) => h("section.card", h("h2", label), children);
  const phases = release.phases.map((phase) => phaseCard(phase, phase.id === release.currentPhase?.id));
  const end = endedAt ? ["Ended ", time(endedAt)] : expectedEndAt ? ["Complete ", time(expectedEndAt), " if nobody acts"] : "Waits until somebody acts";
  return [
    h("p", description),
    h(
      "p.facts",
      link(`/features/${feature.key}`, feature.key),
      pipelineId && link(`/pipelines/${pipelineId}`, pipelineName),
      h("span", `started by ${startedBy.name}, `, time(startedAt)),
    ),
    h(
      "div.columns",
      phases.length > 0 && card("Phases", h("ol.phases", phases)),
      h(
        "div",
        card("Who gets the new version now", h("p.exposure", exposure.text), exposedIn(exposure), h("p.hint", end)),
        card("Change", specDiff(release.change)),
        card("History", timeline(release.history)),
      ),
    ),
  ];
}
