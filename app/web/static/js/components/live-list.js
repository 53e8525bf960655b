// A list of releases, the newest first, that stays in order and touches only the rows that changed.
//
// What arrives is drawn once a frame, within a budget, so that a thousand at once leave time for scrolling and typing.

import { h, morph } from "../dom.js";
import { releaseRow } from "./release-row.js";

const FRAME_MS = 4; // and as long again for their style, layout and paint

/** The list of those releases that it `holds(release)`. `onchange()` is called when rows were drawn. */
export function liveList({ label, holds = () => true, onchange = () => {} }) {
  const node = h("ul", { role: "list", "aria-label": label });
  const known = new Map(); // by id, the release as last told, also of one that left: an older answer brings none back
  const rows = new Map();
  const order = []; // ids, which begin with the time: the newest first
  const arrived = new Set();
  let frame = null;

  function draw(id) {
    const release = known.get(id);
    const row = rows.get(id);
    if (!release || !holds(release)) {
      row?.remove();
      rows.delete(id);
      if (row) order.splice(order.indexOf(id), 1);
    } else if (row) {
      morph(row, releaseRow(release));
    } else {
      const found = order.findIndex((each) => each < id);
      const at = found < 0 ? order.length : found;
      const fresh = releaseRow(release);
      node.insertBefore(fresh, rows.get(order[at]) ?? null);
      order.splice(at, 0, id);
      rows.set(id, fresh);
    }
  }

  function drawAll() {
    frame = null;
    const until = performance.now() + FRAME_MS;
    for (const id of arrived) {
      arrived.delete(id);
      draw(id);
      if (performance.now() > until) break;
    }
    if (arrived.size) later();
    onchange();
  }

  const later = () => (frame ??= requestAnimationFrame(drawAll));

  function redraw(id) {
    arrived.add(id);
    later();
  }

  return {
    node,
    redraw,
    size: () => [...known.values()].filter(holds).length,

    /** Show a release as it now stands, unless it is known to stand further. */
    put(release) {
      if (known.get(release.id)?.revision > release.revision) return;
      known.set(release.id, release);
      redraw(release.id);
    },

    /** Those that it knows, by id, as they were last told. */
    known: () => new Map(known),

    /** Let go of a release, unless more has been told of it meanwhile. */
    drop(release) {
      if (known.get(release.id) === release) redraw((known.delete(release.id), release.id));
    },

    stop: () => cancelAnimationFrame(frame),
  };
}
