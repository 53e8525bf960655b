// What went wrong, in words, where it went wrong.

import { h } from "../dom.js";

/** A notice of an error or a problem (anything with a message), with a way to try again if there is one. */
export const errorNotice = ({ message }, tryAgain) =>
  h(
    "div",
    { class: "notice error", role: "alert" },
    h("p", message),
    tryAgain && h("button", { type: "button", onclick: tryAgain }, "Try again"),
  );
