// Sign in with a token.

import { h } from "../dom.js";
import { endedBecause, signIn } from "../session.js";

export function signInView(params, outlet) {
  const token = h("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
  });
  const form = h(
    "form",
    {
      class: "card narrow",
      onsubmit: (event) => {
        event.preventDefault();
        if (token.value.trim()) signIn(token.value.trim());
        else token.focus();
      },
    },
    h("h1", "Sign in"),
    endedBecause && h("p", { class: "notice error", role: "alert" }, endedBecause),
    h("label", { for: "token" }, "Token"),
    token,
    h(
      "p.hint",
      "The one that “slipway dev” printed, or one that an administrator made for you. It is kept for this tab only.",
    ),
    h("button.primary", "Sign in"),
  );
  outlet.append(form);
}
