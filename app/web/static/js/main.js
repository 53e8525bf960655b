// Begin: who it is, which view, and whether what it shows is live.

import { setClock } from "./clock.js";
import { query } from "./api.js";
import { announce, setText } from "./dom.js";
import { watchReviews } from "./reviews.js";
import { mayLeave, start } from "./router.js";
import { setViewer, signOut, takeFromAddress, token } from "./session.js";
import { connect, tryNow } from "./socket.js";

const WORDS = { live: "Live", connecting: "Connecting…", offline: "Not connected", refused: "Not live" };
const AGAIN_MS = 300_000;
const byId = (id) => document.getElementById(id);
let wasLost = false;
let told = {};

/** Say whether the page is live: in the header and, when it is not any more, in a banner. */
function follow(state, more = {}) {
  told = more;
  document.documentElement.dataset.connection = state;
  setText(byId("connection"), WORDS[state]);
  if (state === "live") learn().catch(() => {});
  const isLost = state !== "live" && (wasLost || state !== "connecting");
  byId("lost").hidden = !isLost;
  explain();
  if (isLost !== wasLost) announce(isLost ? "Connection lost. What is shown is not live." : "Live again.");
  wasLost = isLost;
}

/** What is wrong, since when, and when it is tried again. */
function explain() {
  const { asOf, again, because } = told;
  const seen = asOf ? `What you see is as of ${new Date(asOf).toLocaleTimeString()}, not live` : "Nothing can be shown";
  const left = Math.ceil((again - Date.now()) / 1000);
  const then = left > 0 ? `Trying again in ${left} s.` : "Trying again…";
  setText(byId("as-of"), because ? `The server refuses to keep this page live: ${because} ${seen}.` : `Connection lost. ${seen}. ${then}`);
}

/** Who is asking, and what time it is. */
async function learn() {
  const asked = Date.now();
  const { serverTime, viewer } = await query("{ serverTime viewer { actor { id name } role } }");
  setClock(serverTime, asked);
  setViewer(viewer);
  setText(byId("viewer"), `${viewer.actor.name} · ${viewer.role.toLowerCase()}`);
}

takeFromAddress();
addEventListener("hashchange", () => takeFromAddress() && location.reload());
const isSignedIn = token() !== null;
document.body.classList.toggle("signed-out", !isSignedIn);
if (isSignedIn) {
  byId("sign-out").onclick = () => mayLeave() && signOut();
  byId("try-now").onclick = tryNow;
  watchReviews();
  await start(byId("main")); // and only then what is not seen yet
  connect(follow);
  setInterval(() => learn().catch(() => {}), AGAIN_MS);
  setInterval(() => wasLost && explain(), 1_000);
} else {
  const { signInView } = await import("./views/sign-in.js");
  signInView(byId("main"));
}
