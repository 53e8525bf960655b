// A page of something that can be edited: drawn anew whenever it moves, with buttons that open editors.

import { subscribe } from "../api.js";
import { h, morph, replace, setText } from "../dom.js";
import { mayLeave, setTitle } from "../router.js";
import { learned, may, viewer } from "../session.js";
import { words } from "../words.js";
import { errorNotice } from "./errors.js";
import { phaseCard } from "./phase-card.js";

const CHANGES = "subscription ($filter: ReleaseFilter!) { releases(filter: $filter) { id } }";
const SETTLE_MS = 100;

/** A card with a list, or with `none` where that is empty. */
export function card(title, content, none = "None.") {
  const list = content.length ? h("ul", { "aria-label": title }, content) : h("p.hint", none);
  return h("section.card", h("h2", title), Array.isArray(content) ? list : content);
}

export const PHASES = "phases { name rules { environments conditions { attribute operator values } } bakeTime requiredApprovals preventSelfApproval remindEvery }";

/** How a change progresses through phases. */
export const plan = (phases) => h("ol", phases.map((each) => phaseCard(each)));

/**
 * Show what `ask()` finds as `draw(found)` does, and again when a release moves that `filter(found)` admits; or, where there
 * is `hear(release, body)`, have it draw the release with what `changes` asks of it, and `forget()` them all after a break.
 * `actions` are [label, open(module of `editors()`, end, found) → editor, why(found) it is refused]. Returns dispose().
 */
export function page(outlet, { title, ask, draw, filter, hear, changes = CHANGES, forget, editors, actions }) {
  const [heading, buttons, problem, slot, body] = [h("h1", title), h("div.bar"), h("div"), h("div"), h("div")];
  let found, timer, stop;

  const guard = (run) => run().then(() => replace(problem), (error) => replace(problem, errorNotice(error, () => guard(run))));
  const later = () => (timer ??= setTimeout(guard, SETTLE_MS, load));

  async function load() {
    timer = null;
    found = await ask();
    if (!body.isConnected) return;
    show();
    const next = ({ releases }) => (hear ?? later)(releases, body);
    const resumed = () => load(forget?.());
    if (found) stop ??= subscribe(changes, () => ({ filter: filter(found) }), { next, resumed });
  }

  function show() {
    if (!found) return replace(body, h("p.empty", "There is no such thing."));
    setText(heading, found.name ?? title);
    setTitle(heading.textContent);
    morph(body, h("div", draw(found)));
    morph(buttons, h("div.bar", tools()));
  }

  /** What cannot be done is there, disabled, and says why; what several share is said once. */
  function tools() {
    const role = viewer ? `Needs the role operator; yours is ${words(viewer.role)}.` : "Your role is not known yet.";
    const whys = actions.map(([, , why]) => (may("OPERATOR") ? why?.(found) || null : role));
    const id = (why) => why && `why-${whys.indexOf(why)}`;
    const tool = ([label, open], index) => {
      const onclick = () => guard(() => edit(open));
      return h("button", { type: "button", onclick, disabled: Boolean(whys[index]), "aria-describedby": id(whys[index]) }, label);
    };
    return [...actions.map(tool), ...[...new Set(whys)].map((why) => why && h("small", { id: id(why) }, why))];
  }

  function end(saved) {
    replace(slot);
    heading.focus();
    if (saved) guard(load);
  }

  async function edit(open) {
    if (!mayLeave()) return;
    replace(slot);
    const module = await editors().catch(() => Promise.reject(new Error("The server does not answer.")));
    const editor = await open(module, end, found);
    if (!editor) return;
    replace(slot, editor);
    slot.querySelector("input, textarea, select, button").focus();
  }

  replace(outlet, h("div.bar.title", heading, buttons), problem, slot, body);
  guard(load);
  learned.then(() => found && show());
  return () => {
    clearTimeout(timer);
    stop?.();
  };
}
