// The releases under way, live, and below them those that are over.

import { PAGE_INFO, pages, query, subscribe } from "../api.js";
import { now } from "../clock.js";
import { errorNotice } from "../components/errors.js";
import { liveList } from "../components/live-list.js";
import { releaseFilter } from "../components/release-filter.js";
import { h, replace, setText } from "../dom.js";
import { ROW, UNDER_WAY } from "../releases-query.js";
import { onReview } from "../reviews.js";

const OVER = ["COMPLETED", "ABORTED"];
const PAGE = `query ($filter: ReleaseFilter!, $first: Int!, $after: String) {
  releases(filter: $filter, first: $first, after: $after) { edges { node { ${ROW} } } ${PAGE_INFO} }
}`;
const IDS = `query ($filter: ReleaseFilter!, $after: String) {
  releases(filter: $filter, first: 100, after: $after) { edges { node { id } } ${PAGE_INFO} }
}`;
const CHANGES = `subscription ($filter: ReleaseFilter!) { releases(filter: $filter) { ${ROW} } }`;
const SCREENFUL = 20;
const NONE = "No release is under way. Save a change of a feature that has a pipeline, and it shows up here.";

export function releasesView(params, outlet) {
  const counted = h("span.hint", { role: "status" });
  const lists = h("div");
  let stop = () => {};
  const filter = releaseFilter(restart);
  // What is looked at comes first; the choices can wait.
  const offerChoices = () => (offered ??= filter.load().catch(() => (offered = null)));
  let offered = null;
  function restart() {
    stop();
    stop = showLists(filter.chosen(), lists, counted, offerChoices);
  }
  replace(outlet, h("div.bar", h("h1", "Releases"), counted), filter.node, lists);
  restart();
  return () => stop();
}

/** Both lists, of what was chosen; returns what ends them. `onsettled()` is called once there is what is seen first. */
function showLists({ status, feature, pipeline }, outlet, counted, onsettled) {
  const chosen = (statuses) => statuses.filter((each) => !status || each === status);
  const [underWayIs, overIs] = [chosen(UNDER_WAY), chosen(OVER)];
  const filterOf = (statuses) => ({ status: statuses, featureKey: feature || null, pipelineId: pipeline || null });
  const list = (label, statuses) => liveList({ label, holds: (release) => statuses.includes(release.status), onchange: count });
  const [underWay, over] = [list("Releases under way", underWayIs), list("History", overIs)];
  const none = status || feature || pipeline ? "None of the releases under way matches." : NONE;
  const older = h("button", { type: "button", hidden: true, onclick: () => guard(showOlder) }, "Show older ones");
  const problem = h("div");
  let after = null;
  let oldest = "";
  outlet.ariaBusy = "true";
  replace(
    outlet,
    problem,
    underWayIs.length > 0 && h("section", { "aria-label": "Under way" }, underWay.node, h("p.empty", none)),
    overIs.length > 0 && h("section", h("h2", "History"), over.node, h("p.empty", "No such release is over."), older),
  );

  function count() {
    setText(counted, `${underWay.size()} under way`);
  }

  /** What settles moves from one list to the other. */
  function hear(release) {
    underWay.put(release);
    over.put(release);
  }

  async function showOlder() {
    const { releases } = await query(PAGE, { filter: filterOf(overIs), first: 20, after });
    releases.edges.forEach(({ node }) => hear(node));
    after = releases.pageInfo.endCursor;
    oldest = releases.edges.at(-1)?.node.id ?? "";
    older.hidden = !releases.pageInfo.hasNextPage;
  }

  /** What is looked at first; the subscription tells the rest. */
  async function begin() {
    if (underWayIs.length) {
      const { releases } = await query(PAGE, { filter: filterOf(underWayIs), first: SCREENFUL, after: null });
      releases.edges.forEach(({ node }) => hear(node));
    }
    await showHistory();
  }

  /** After another connection, which tells all that is under way: what is not among it any more has ended meanwhile. */
  async function catchUp() {
    const gone = underWay.known();
    if (underWayIs.length)
      for await (const page of pages(IDS, { filter: filterOf(underWayIs) })) page.forEach(({ id }) => gone.delete(id));
    gone.forEach(underWay.drop);
    await showHistory();
  }

  async function showHistory() {
    after = null;
    if (overIs.length) await showOlder();
    outlet.ariaBusy = "false";
    if (!isOver) watchRecent();
    onsettled();
  }

  async function guard(work) {
    replace(problem);
    await work().catch((error) => replace(problem, errorNotice(error, () => guard(work))));
  }

  function watch(statuses, next, more = () => {}) {
    if (!statuses.length) return () => {};
    const variables = () => ({ filter: { ...filterOf(statuses), ...more() } });
    return subscribe(CHANGES, variables, { next: ({ releases }) => next(releases), resumed: catchUp });
  }
  // Changes that need no pipeline are over at once, and so were never under way. (Clocks may differ a little.) What is
  // older than the history that is shown comes with its next page.
  const recently = () => ({ startedAfter: new Date(now() - 60_000).toISOString() });
  const watchRecent = () => (stopRecent ??= watch(overIs, (release) => release.id > oldest && hear(release), recently));
  let [stopRecent, isOver] = [null, false];
  const stops = [watch(underWayIs, hear), onReview(underWay.redraw), underWay.stop, over.stop];
  guard(begin);
  return () => {
    isOver = true;
    stopRecent?.();
    stops.forEach((stop) => stop());
  };
}
