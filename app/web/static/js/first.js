// What the list shows first is asked for while the modules that show it are still on their way.

import { PAGE_INFO, query } from "./api.js";
import { ROW, UNDER_WAY } from "./row-query.js";
import { takeFromAddress, token } from "./session.js";

export const PAGE = `query ($filter: ReleaseFilter!, $first: Int!, $after: String) {
  releases(filter: $filter, first: $first, after: $after) { edges { node { ${ROW} } } ${PAGE_INFO} }
}`;
const LOWEST_ROW = 80; // pixels

/** What admits releases in those statuses, or in the one of them that was chosen, of the chosen feature and pipeline. */
export const filterOf = ({ status, feature, pipeline }, statuses) => ({
  status: statuses.filter((each) => !status || each === status),
  featureKey: feature || null,
  pipelineId: pipeline || null,
});

const ask = (filter) => query(PAGE, { filter, first: Math.min(100, Math.ceil(innerHeight / LOWEST_ROW)), after: null });

let asked = null;
let answer;

/** A screenful of the releases that a filter admits; the first time, what was asked for already. */
export function firstRows(filter) {
  const isAsked = asked === JSON.stringify(filter);
  asked = null;
  return isAsked ? answer : ask(filter);
}

takeFromAddress();
const filter = filterOf(Object.fromEntries(new URLSearchParams(location.search)), UNDER_WAY);
if (token() !== null && location.pathname === "/" && filter.status.length) {
  asked = JSON.stringify(filter);
  answer = ask(filter);
  answer.catch(() => {}); // told by whoever shows it
}
