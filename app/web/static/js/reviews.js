// What waits for the caller's review: in the tab's title, and in a quiet banner on every page.

import { subscribe } from "./api.js";
import { link, replace } from "./dom.js";
import { setMark } from "./router.js";
import { releaseTitle } from "./words.js";

const WAITING = `subscription {
  releases(filter: {status: [WAITING_FOR_REVIEW]}) {
    id status feature { key } number availableActions { action allowed }
  }
}`;
const SETTLE_MS = 100;
const SHOWN = 3;

/** The releases that wait for the caller, by id. */
export const reviews = new Map();
const banner = document.getElementById("reviews");
const listeners = new Set();
let timer = null;

/** Call `listener(id)` when one comes or goes; returns what ends that. */
export function onReview(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function hear(release) {
  const approve = release.availableActions.find(({ action }) => action === "APPROVE");
  const isMine = release.status === "WAITING_FOR_REVIEW" && approve.allowed;
  if (isMine === reviews.has(release.id)) return;
  if (isMine) reviews.set(release.id, release);
  else reviews.delete(release.id);
  listeners.forEach((listener) => listener(release.id));
  timer ??= setTimeout(show, SETTLE_MS);
}

function show() {
  timer = null;
  const count = reviews.size;
  setMark(count ? `(${count}) ` : "");
  banner.hidden = !count;
  const links = [...reviews.values()]
    .slice(0, SHOWN)
    .flatMap((release, index) => [index ? ", " : " ", link(`/releases/${release.id}`, releaseTitle(release))]);
  const more = count > SHOWN && ` and ${count - SHOWN} more`;
  replace(banner, count === 1 ? "1 release waits" : `${count} releases wait`, " for your review:", links, more);
}

/** Watch, as long as the page is there. */
export function watchReviews() {
  const next = ({ releases }) => hear(releases);
  const resumed = () => [...reviews.values()].forEach((release) => hear({ ...release, status: "" }));
  subscribe(WAITING, {}, { next, resumed });
}
