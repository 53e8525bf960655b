// A page of something that can be edited: drawn anew whenever it moves, with buttons that open editors.

import { subscribe } from "../api.js";
import { h, morph, replace, setText } from "../dom.js";
import { setTitle } from "../router.js";
import { learned, may, viewer } from "../session.js";
import { words } from "../words.js";
import { errorNotice } from "./errors.js";
import { button } from "./form.js";
import { phaseCard } from "./phase-card.js";

const CHANGES = "subscription ($filter: ReleaseFilter!) { releases(filter: $filter) { id } }";
const SETTLE_MS = 100;

/** A list with a name. */
export const list = (label, items) => (items.length ? h("ul", { "aria-label": label }, items) : h("p.hint", "None."));
export const card = (title, content) => h("section.card", h("h2", title), Array.isArray(content) ? list(title, content) : content);

/** An item of some parts. */
export const entry = (...parts) => h("li.entry", parts.map((each) => h("span", each)));

export const PHASES = "phases { name rules { environments conditions { attribute operator values } } bakeTime requiredApprovals preventSelfApproval }";

/** How a change progresses through phases. */
export const plan = (phases) => h("ol", phases.map((each) => phaseCard({ ...each, status: "NOT_RELEASED", approvals: [] })));

/**
 * Show what `ask()` finds as `draw(found)` does, and again when a release moves that `filter(found)` admits. `actions` are
 * [label, open(end) → editor, why(found) it is refused]. Returns dispose().
 */
export function page(outlet, { title, ask, draw, filter, actions }) {
  const [heading, buttons, problem, slot, body] = [h("h1", title), h("div.bar"), h("div"), h("div"), h("div")];
  let found, timer, stop;

  const guard = (run) => run().then(() => replace(problem), (error) => replace(problem, errorNotice(error, () => guard(run))));

  async function load() {
    timer = null;
    found = await ask();
    if (!body.isConnected) return;
    show();
    const next = () => (timer ??= setTimeout(guard, SETTLE_MS, load));
    if (found && filter) stop ??= subscribe(CHANGES, () => ({ filter: filter(found) }), { next, resumed: load });
  }

  function show() {
    if (!found) return replace(body, h("p.empty", "There is no such thing."));
    setText(heading, found.name ?? title);
    setTitle(heading.textContent);
    morph(body, h("div", draw(found)));
    morph(buttons, h("div.bar", actions.map(action)));
  }

  /** What cannot be done is there, disabled, and says why. */
  function action([label, open, why], index) {
    const role = viewer ? `Needs the role operator; yours is ${words(viewer.role)}.` : "Your role is not known yet.";
    const reason = may("OPERATOR") ? why?.(found) : role;
    const id = `why-${index}`;
    return [button(label, () => guard(() => edit(open)), { disabled: Boolean(reason), "aria-describedby": id }), h("small", { id }, reason)];
  }

  function end(saved) {
    replace(slot);
    heading.focus();
    if (saved) guard(load);
  }

  async function edit(open) {
    replace(slot, await open(end));
    slot.querySelector("input, textarea, select, button").focus();
  }

  replace(outlet, h("div.bar", heading, buttons), problem, slot, body);
  guard(load);
  learned.then(() => found && show());
  return () => {
    clearTimeout(timer);
    stop?.();
  };
}
