// Sign in with a token.

import { h } from "../dom.js";
import { endedBecause, signIn } from "../session.js";

export function signInView(outlet) {
  const because = endedBecause();
  const token = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, autofocus: true });
  const submit = (event) => {
    event.preventDefault();
    if (token.value.trim()) signIn(token.value.trim());
  };
  const hint = "The one that “slipway dev” printed, or one that an administrator made for you. It is kept for this tab only.";
  document.title = "Sign in · Slipway";
  outlet.append(
    h(
      "form",
      { class: "card narrow", onsubmit: submit },
      h("h1", "Sign in"),
      because && h("p", { class: "notice error", role: "alert" }, because),
      h("label", { for: "token" }, "Token"),
      token,
      h("p.hint", hint),
      h("button.primary", "Sign in"),
    ),
  );
}
