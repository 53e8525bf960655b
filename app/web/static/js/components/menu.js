// A menu under a button (the "menu button" pattern of WAI-ARIA).

import { h, uniqueId } from "../dom.js";

/**
 * The button. `items()` is asked each time that it opens: {label, run, reason, tone}. What has a reason is refused: it
 * is there, says why, and does nothing.
 */
export function menuButton(label, items) {
  const menu = h("div", { role: "menu", class: "menu", id: uniqueId("menu"), "aria-label": label, onkeydown: move });
  menu.hidden = true;
  const button = h(
    "button",
    {
      type: "button",
      class: "icon",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      "aria-label": label,
      title: label,
      onclick: () => (menu.hidden ? open() : close()),
      onkeydown: (event) => {
        if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
        event.preventDefault();
        open(event.key === "ArrowUp" ? -1 : 0);
      },
    },
    "⋯",
  );
  const node = h("div.menu-button", button, menu);

  function open(index = 0) {
    menu.replaceChildren(...items().map(entry));
    menu.hidden = false;
    button.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", elsewhere);
    [...menu.querySelectorAll("[role=menuitem]")].at(index)?.focus();
  }

  function close({ refocus = false } = {}) {
    menu.hidden = true;
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", elsewhere);
    if (refocus) button.focus();
  }

  function entry({ label: text, run, reason, tone }) {
    const id = uniqueId("reason");
    return h(
      "button",
      {
        type: "button",
        role: "menuitem",
        "aria-label": text,
        tabindex: "-1",
        class: tone,
        "aria-disabled": reason ? "true" : null,
        "aria-describedby": reason ? id : null,
        title: reason,
        onclick: () => {
          if (reason) return;
          close({ refocus: true });
          run();
        },
      },
      h("span", text),
      reason && h("small", { id }, reason),
    );
  }

  function move(event) {
    const entries = [...menu.querySelectorAll("[role=menuitem]")];
    const at = entries.indexOf(document.activeElement);
    const typed = entries.findIndex((each) => each.textContent.toLowerCase().startsWith(event.key.toLowerCase()));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key] ?? (typed < 0 ? null : typed);
    if (event.key === "Escape") close({ refocus: true });
    else if (event.key === "Tab") return close();
    else if (to !== null) entries.at(to === entries.length ? 0 : to).focus();
    else return;
    event.preventDefault();
  }

  function elsewhere(event) {
    if (!node.contains(event.target)) close();
  }
  return node;
}
