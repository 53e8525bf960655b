// A list of releases, the newest first, that stays in order and touches only the rows that changed.
//
// What arrives is kept by id and written once a frame, within a budget: a thousand releases at once, or fifty changes
// a second, leave time for scrolling and typing.

import { h } from "../dom.js";
import { releaseRow } from "./release-row.js";

const FRAME_MS = 8;
const FILTERED_A_FRAME = 200; // what is shown or hidden is laid out in the same frame

const position = ({ startedAt, id }) => startedAt + id;

/** The list. `isShown(release)` filters it; `onchange()` is called when rows were added, removed or filtered. */
export function liveList({ label, isShown = () => true, onchange = () => {} }) {
  const node = h("ul", { class: "rows", "aria-label": label });
  const entries = new Map(); // id -> {release, row, key}
  const order = []; // entries, the newest first
  const arrived = new Map();
  let unfiltered = [];
  let mine = new Set();
  let frame = null;

  /** Where an entry of that key stands, or would stand. */
  function place(key) {
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order[middle].key > key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function write(release) {
    const known = entries.get(release.id);
    if (known) {
      if (release.revision < known.release.revision) return;
      known.release = release;
      known.row.update(release);
      known.row.node.hidden = !isShown(release);
      return;
    }
    const entry = { release, key: position(release), row: releaseRow(release) };
    const at = place(entry.key);
    entry.row.node.hidden = !isShown(release);
    entry.row.setMine(mine.has(release.id));
    node.insertBefore(entry.row.node, order[at]?.row.node ?? null);
    order.splice(at, 0, entry);
    entries.set(release.id, entry);
  }

  function flush() {
    frame = null;
    const until = performance.now() + FRAME_MS;
    for (const [id, release] of arrived) {
      arrived.delete(id);
      write(release);
      if (performance.now() > until) break;
    }
    for (const { release, row } of unfiltered.splice(0, FILTERED_A_FRAME)) row.node.hidden = !isShown(release);
    if (arrived.size || unfiltered.length) later();
    onchange();
  }

  const later = () => (frame ??= requestAnimationFrame(flush));

  return {
    node,
    ids: () => new Set([...entries.keys(), ...arrived.keys()]),
    size: () => entries.size + arrived.size,
    shown: () => order.reduce((count, entry) => count + !entry.row.node.hidden, 0),

    /** Show a release as it now stands, unless it is known to stand further. */
    put(release) {
      if ((arrived.get(release.id)?.revision ?? 0) > release.revision) return;
      arrived.set(release.id, release);
      later();
    },

    remove(id) {
      arrived.delete(id);
      const entry = entries.get(id);
      if (!entry) return;
      entries.delete(id);
      order.splice(order.indexOf(entry), 1);
      entry.row.node.remove();
      later();
    },

    clear() {
      arrived.clear();
      entries.clear();
      order.length = 0;
      node.replaceChildren();
    },

    filter() {
      unfiltered = [...order];
      later();
    },

    /** Mark those that wait for the caller. */
    mark(ids) {
      for (const id of new Set([...mine, ...ids])) entries.get(id)?.row.setMine(ids.has(id));
      mine = new Set(ids);
    },

    stop: () => cancelAnimationFrame(frame),
  };
}
