// Begin: who it is, which view, and whether what it shows is live.

import { setClock } from "./clock.js";
import { query } from "./api.js";
import { announce, setText } from "./dom.js";
import { watchReviews } from "./reviews.js";
import { start } from "./router.js";
import { setViewer, signOut, takeFromAddress, token } from "./session.js";
import { connect, tryNow } from "./socket.js";

const WORDS = { live: "Live", connecting: "Connecting…", offline: "Not connected" };
const AGAIN_MS = 300_000;
const byId = (id) => document.getElementById(id);
let wasLost = false;

/** Say whether the page is live: in the header and, when it is not any more, in a banner. */
function follow(state, asOf) {
  document.documentElement.dataset.connection = state;
  setText(byId("connection"), WORDS[state]);
  if (state === "live") learn();
  const isLost = state !== "live" && (wasLost || state === "offline");
  byId("lost").hidden = !isLost;
  const seen = asOf ? `What you see is as of ${new Date(asOf).toLocaleTimeString()}, not live` : "Nothing can be shown";
  if (isLost) setText(byId("as-of"), `Connection lost. ${seen}. Trying again…`);
  if (isLost !== wasLost) announce(isLost ? "Connection lost. What is shown is not live." : "Live again.");
  wasLost = isLost;
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
  byId("sign-out").onclick = () => signOut();
  byId("try-now").onclick = tryNow;
  start(byId("main"));
  connect(follow);
  watchReviews();
  setInterval(() => learn().catch(() => {}), AGAIN_MS);
} else {
  const { signInView } = await import("./views/sign-in.js");
  signInView(byId("main"));
}
