// What waits for the caller's review: in the tab's title, and in a quiet banner on every page.

import { subscribe } from "./api.js";
import { announce, h, replace } from "./dom.js";
import { setMark } from "./router.js";
import { releaseTitle } from "./words.js";

const WAITING = `subscription {
  releases(filter: {status: [WAITING_FOR_REVIEW]}) {
    id number status revision feature { key } availableActions { action allowed }
  }
}`;
const SETTLE_MS = 100;
const SHOWN = 3;

const mine = new Map();
const listeners = new Set();

/** Follow the set of ids of what waits for the caller; returns what ends that. */
export function onReviews(listener) {
  listeners.add(listener);
  listener(new Set(mine.keys()));
  return () => listeners.delete(listener);
}

/** Watch, until the returned function is called. */
export function watchReviews() {
  const banner = document.getElementById("reviews");
  let told = new Set();
  let timer = null;

  function show() {
    timer = null;
    const releases = [...mine.values()];
    setMark(releases.length ? `(${releases.length}) ` : "");
    banner.hidden = !releases.length;
    const links = releases.slice(0, SHOWN).flatMap((release, index) => [
      index ? ", " : " ",
      h("a", { href: `/releases/${release.id}`, "data-link": true }, releaseTitle(release)),
    ]);
    const more = releases.length - SHOWN;
    const text = releases.length === 1 ? "1 release waits" : `${releases.length} releases wait`;
    replace(banner, text, " for your review:", links, more > 0 && ` and ${more} more`);
    const fresh = releases.filter(({ id }) => !told.has(id));
    if (fresh.length === 1) announce(`${releaseTitle(fresh[0])} waits for your review.`);
    else if (fresh.length) announce(`${fresh.length} more releases wait for your review.`);
    told = new Set(mine.keys());
    listeners.forEach((listener) => listener(told));
  }

  const later = () => (timer ??= setTimeout(show, SETTLE_MS));
  const stop = subscribe(WAITING, {}, {
    next({ releases: release }) {
      const approve = release.availableActions.find(({ action }) => action === "APPROVE");
      if (release.status === "WAITING_FOR_REVIEW" && approve.allowed) mine.set(release.id, release);
      else mine.delete(release.id);
      later();
    },
    resumed() {
      mine.clear();
      later();
    },
  });
  return () => {
    stop();
    clearTimeout(timer);
    mine.clear();
    show();
  };
}
