// A menu under a button (the "menu button" pattern of WAI-ARIA): a popover, which the browser opens and closes.

import { h, replace, uniqueId } from "../dom.js";

/**
 * The button. `items()` is asked each time that it opens: {label, run, reason, tone}. What has a reason is refused, and
 * says why.
 */
export function menuButton(label, items) {
  const id = uniqueId("menu");
  const open = ({ newState }) => newState === "open" && replace(menu, items().map(entry));
  const menu = h("div.menu", { id, role: "menu", popover: "auto", "aria-label": label, onkeydown: move, onbeforetoggle: open });
  const entry = ({ label: text, run, reason, tone }, index) => {
    const why = uniqueId("reason");
    const choose = () => {
      if (reason) return;
      menu.hidePopover();
      run();
    };
    return h(
      "button",
      {
        type: "button",
        role: "menuitem",
        class: tone,
        title: reason,
        tabindex: -1,
        autofocus: index === 0,
        "aria-label": text,
        "aria-disabled": reason && "true",
        "aria-describedby": reason && why,
        onclick: choose,
      },
      h("span", text),
      reason && h("small", { id: why }, reason),
    );
  };
  const byKey = (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    menu.showPopover({ source: button });
    if (event.key === "ArrowUp") menu.lastChild.focus();
  };
  const button = h(
    "button.icon",
    { type: "button", "aria-haspopup": "menu", "aria-label": label, title: label, popovertarget: id, onkeydown: byKey },
    "⋯",
  );
  return h("div", button, menu);
}

function move(event) {
  const entries = [...this.children];
  const at = entries.indexOf(document.activeElement);
  const to = { ArrowDown: (at + 1) % entries.length, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (event.key === "Tab") this.hidePopover();
  if (to === undefined) return;
  event.preventDefault();
  entries.at(to).focus();
}
