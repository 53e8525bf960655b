// Whether the page is live, in the header and, when it is not, in a banner.

import { onConnection } from "./api.js";
import { announce, h, setText } from "./dom.js";
import { token } from "./session.js";
import { tryNow } from "./socket.js";

const WORDS = { live: "Live", connecting: "Connecting…", offline: "Not connected" };
const QUIET_MS = 1_500; // a page that has just opened need not say that it connects
const AT = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** The banner; it hides itself while the page is live. */
export function connectionBanner() {
  const text = h("p");
  const again = h("button", { type: "button", onclick: tryNow }, "Try now");
  const banner = h("div", { class: "notice warning connection", hidden: true }, text, again);
  const word = document.getElementById("connection");
  let current;
  let wasLost = false;

  function show() {
    const { state, since, retryAt } = current;
    setText(word, WORDS[state]);
    const lost = token() !== null && state !== "live" && since !== null && Date.now() - since > QUIET_MS;
    banner.hidden = !lost;
    again.hidden = state !== "offline";
    if (lost) {
      const left = retryAt && Math.ceil((retryAt - Date.now()) / 1000);
      const next = state === "connecting" ? "Connecting again…" : left > 0 ? `Trying again in ${left} s.` : "Trying again…";
      setText(text, `Connection lost. What you see is as of ${AT.format(since)}, not live. ${next}`);
    }
    if (lost !== wasLost) announce(lost ? "Connection lost. What is shown is not live." : "Live again.");
    wasLost = lost;
  }

  onConnection((changed) => {
    current = changed;
    show();
  });
  setInterval(() => current.state !== "live" && show(), 500);
  return banner;
}
