// The phases of a release side by side, coloured by status: one picture with one name.

import { h, setAttribute } from "../dom.js";
import { STATUSES } from "../words.js";

/** The strip of a release: {node, update(phases)}; an update touches only the phases that changed. */
export function phaseStrip(phases) {
  const cells = phases.map(() => h("span.phase-cell"));
  const node = h("span", { class: "strip", role: "img" }, cells);
  const update = (phasesNow) => {
    phasesNow.forEach(({ name, status }, index) => {
      setAttribute(cells[index], "data-status", status);
      setAttribute(cells[index], "title", `${name}: ${STATUSES[status]}`);
    });
    const told = phasesNow.map(({ name, status }) => `${name} ${STATUSES[status]}`).join(", ");
    setAttribute(node, "aria-label", told ? `Phases: ${told}` : "No phases");
  };
  update(phases);
  return { node, update };
}
