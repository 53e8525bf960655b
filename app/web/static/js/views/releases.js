// The releases under way, live, and below them those that are over.

import { PAGE_INFO, pages, query, subscribe } from "../api.js";
import { now } from "../clock.js";
import { errorNotice } from "../components/errors.js";
import { liveList } from "../components/live-list.js";
import { releaseFilter } from "../components/release-filter.js";
import { h, painted, replace, setText } from "../dom.js";
import { filterOf, firstRows, PAGE } from "../first.js";
import { onReview } from "../reviews.js";
import { ROW, UNDER_WAY } from "../row-query.js";

const OVER = ["COMPLETED", "ABORTED"];
const IDS = `query ($filter: ReleaseFilter!, $after: String) {
  releases(filter: $filter, first: 100, after: $after) { edges { node { id } } ${PAGE_INFO} }
}`;
const CHANGES = `subscription ($filter: ReleaseFilter!) { releases(filter: $filter) { ${ROW} } }`;
// Changes that need no pipeline are over at once, and so were never under way. (Clocks may differ a little.) What is
// older than the history that is shown comes with its next page.
const recently = () => ({ startedAfter: new Date(now() - 60_000).toISOString() });
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
function showLists(chosen, outlet, counted, onsettled) {
  const [underWayIs, overIs] = [filterOf(chosen, UNDER_WAY), filterOf(chosen, OVER)];
  const list = (label, { status }) => liveList({ label, holds: (release) => status.includes(release.status), onchange: count });
  const [underWay, over] = [list("Releases under way", underWayIs), list("History", overIs)];
  const none = Object.values(chosen).some(Boolean) ? "None of the releases under way matches." : NONE;
  const older = h("button", { type: "button", hidden: true, onclick: () => guard(showOlder) }, "Show older ones");
  const problem = h("div");
  const watched = new Map();
  let [after, oldest, isShown] = [null, "", true];
  outlet.ariaBusy = "true";
  replace(
    outlet,
    problem,
    underWayIs.status.length > 0 && h("section", { "aria-label": "Under way" }, underWay.node, h("p.empty", none)),
    overIs.status.length > 0 && h("section", h("h2", "History"), over.node, h("p.empty", "No such release is over."), older),
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
    const { releases } = await query(PAGE, { filter: overIs, first: 20, after });
    releases.edges.forEach(({ node }) => hear(node));
    after = releases.pageInfo.endCursor;
    oldest = releases.edges.at(-1)?.node.id ?? "";
    older.hidden = !releases.pageInfo.hasNextPage;
  }

  /** What is looked at first, and once it is there all else. */
  async function begin() {
    try {
      if (underWayIs.status.length) (await firstRows(underWayIs)).releases.edges.forEach(({ node }) => hear(node));
      await painted();
    } finally {
      watch(underWayIs, hear);
    }
    await showHistory();
  }

  /** After another connection, which tells all that is under way: what is not among it any more has ended meanwhile. */
  async function catchUp() {
    const gone = underWay.known();
    if (underWayIs.status.length)
      for await (const page of pages(IDS, { filter: underWayIs })) page.forEach(({ id }) => gone.delete(id));
    gone.forEach(underWay.drop);
    await showHistory();
  }

  async function showHistory() {
    after = null;
    if (overIs.status.length) await showOlder();
    outlet.ariaBusy = "false";
    watch(overIs, (release) => release.id > oldest && hear(release), recently);
    onsettled();
  }

  async function guard(work) {
    replace(problem);
    await work().catch((error) => replace(problem, errorNotice(error, () => guard(work))));
  }

  /** Subscribe, once. */
  function watch(filter, next, more = () => ({})) {
    if (!isShown || !filter.status.length || watched.has(filter)) return;
    const variables = () => ({ filter: { ...filter, ...more() } });
    watched.set(filter, subscribe(CHANGES, variables, { next: ({ releases }) => next(releases), resumed: catchUp }));
  }

  const ignoreReviews = onReview(underWay.redraw);
  guard(begin);
  return () => {
    isShown = false;
    [...watched.values(), ignoreReviews, underWay.stop, over.stop].forEach((stop) => stop());
  };
}
