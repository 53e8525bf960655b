// The releases under way, live, and below them those that are over.

import { all, query, subscribe } from "../api.js";
import { now } from "../clock.js";
import { errorNotice } from "../components/errors.js";
import { liveList } from "../components/live-list.js";
import { releaseFilter } from "../components/release-filter.js";
import { h, replace, setText } from "../dom.js";
import { onReviews } from "../reviews.js";

const ROW = `
  id number status revision description pipelineId pipelineName feature { key } startedBy { name } startedAt endedAt
  phases { name status }
  currentPhase { name status requiredApprovals approvals { at } bakeTime bakeEndsAt bakeRemaining }
`;
const UNDER_WAY = ["WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED"];
const OVER = ["COMPLETED", "ABORTED"];
const PAGE = `edges { node { ${ROW} } } pageInfo { hasNextPage endCursor }`;
const FIRST = `query ($underWay: ReleaseFilter!, $over: ReleaseFilter!) {
  underWay: releases(filter: $underWay, first: 100) { ${PAGE} }
  over: releases(filter: $over, first: 20) { ${PAGE} }
}`;
const IDS = `query ($filter: ReleaseFilter!, $after: String) {
  releases(filter: $filter, first: 100, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } }
}`;
const HISTORY = `query ($filter: ReleaseFilter!, $after: String) {
  releases(filter: $filter, first: 20, after: $after) { ${PAGE} }
}`;
const CHANGES = `subscription ($filter: ReleaseFilter!) { releases(filter: $filter) { ${ROW} } }`;
// So many that settled while the page was open are shown; then the history begins with its first page again.
const MOST_SETTLED = 100;

export function releasesView(params, outlet) {
  const filter = releaseFilter(refilter);
  const underWay = liveList({ label: "Releases under way", isShown: filter.matches, onchange: count });
  const over = liveList({ label: "History", isShown: filter.matches, onchange: count });
  const counted = h("span", { class: "hint", role: "status" });
  const none = h("p", { class: "empty", hidden: true });
  const noneOver = h("p", { class: "empty", hidden: true }, "No such release is over.");
  const older = h("button", { type: "button", hidden: true, onclick: () => guard(() => history(after)) }, "Show older ones");
  const problem = h("div");
  const ended = h("section", { "aria-labelledby": "over" }, h("h2", { id: "over" }, "History"), over.node, noneOver, older);
  const begun = h("section", { "aria-label": "Under way" }, underWay.node, none);
  replace(outlet, h("div.bar", h("h1", "Releases"), counted), filter.node, problem, begun, ended);

  let isLoaded = false;
  let after = null;
  let asked = 0;
  let settled = 0;
  const gone = new Set(); // over is for good: an answer that is older must not bring one back
  const told = new Set(); // since the last connection

  function hear(release) {
    told.add(release.id);
    filter.offer(release);
    if (OVER.includes(release.status)) return settle(release);
    if (!gone.has(release.id)) underWay.put(release);
  }

  function settle(release) {
    gone.add(release.id);
    underWay.remove(release.id);
    if (!filter.matches(release)) return;
    over.put(release);
    if (++settled > MOST_SETTLED) guard(() => history());
  }

  function count() {
    if (!isLoaded) return;
    const [shown, size] = [underWay.shown(), underWay.size()];
    setText(counted, shown === size ? `${size} under way` : `${shown} of ${size} under way`);
    none.hidden = shown > 0 || !filter.admits(UNDER_WAY);
    setText(none, size ? "None of the releases under way matches." : "No release is under way. Save a change of a feature that has a pipeline, and it shows up here.");
    noneOver.hidden = over.size() > 0;
    begun.hidden = !filter.admits(UNDER_WAY);
    ended.hidden = !filter.admits(OVER);
  }

  async function history(from = null) {
    const mine = ++asked;
    const found = (await query(HISTORY, { filter: filter.forServer(OVER), after: from })).releases;
    if (mine === asked) showHistory(found, from === null); // or else the filter has changed since
  }

  function showHistory(found, anew) {
    if (anew) {
      over.clear();
      settled = 0;
      gone.clear();
    }
    found.edges.forEach(({ node }) => over.put(node));
    after = found.pageInfo.endCursor;
    older.hidden = !found.pageInfo.hasNextPage;
    isLoaded = true;
    count();
  }

  async function guard(load) {
    try {
      await load();
      replace(problem);
    } catch (error) {
      replace(problem, errorNotice(error, () => guard(load)));
    }
  }

  function refilter() {
    underWay.filter();
    if (filter.admits(OVER)) guard(() => history());
    else count();
  }

  const first = async () => {
    const mine = ++asked;
    const found = await query(FIRST, { underWay: { status: UNDER_WAY }, over: filter.forServer(OVER) });
    found.underWay.edges.forEach(({ node }) => told.has(node.id) || hear(node));
    if (mine === asked) showHistory(found.over, true);
  };
  // What ended while nothing was heard is not told: what is not on record as under way any more is over.
  const resumed = async () => {
    told.clear();
    const held = underWay.ids();
    const [nodes] = await Promise.all([all(IDS, { filter: { status: UNDER_WAY } }), history()]);
    nodes.forEach(({ id }) => told.add(id));
    for (const id of held) if (!told.has(id)) underWay.remove(id);
  };

  guard(first).then(filter.load); // what is looked at comes first
  const since = () => new Date(now() - 60_000).toISOString(); // clocks may differ a little
  const stops = [
    subscribe(CHANGES, { filter: { status: UNDER_WAY } }, { next: (data) => hear(data.releases), resumed }),
    // Changes that need no pipeline are over at once, and so were never under way.
    subscribe(CHANGES, () => ({ filter: { status: OVER, startedAfter: since() } }), { next: (data) => hear(data.releases) }),
    onReviews(underWay.mark),
    underWay.stop,
    over.stop,
  ];
  return () => stops.forEach((stop) => stop());
}
