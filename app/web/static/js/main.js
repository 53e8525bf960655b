// Begin: who it is, which view, and whether what it shows is live.

import { onConnection } from "./api.js";
import { stopClock, synchronise } from "./clock.js";
import { connectionBanner } from "./connection.js";
import { setText } from "./dom.js";
import { watchReviews } from "./reviews.js";
import { go, lazily, route, show, start } from "./router.js";
import { onSession, setViewer, signOut, takeFromAddress, token, viewer } from "./session.js";
import { connect, disconnect } from "./socket.js";

const header = document.querySelector("header");
const whoami = document.getElementById("viewer");

// Each view is loaded when it is first shown (and told of by serving.py, so that it comes with the rest).
route("/", lazily(() => import("./views/releases.js"), "releasesView"));
route("/releases/:id", lazily(() => import("./views/release.js"), "releaseView"));
route("/sign-in", lazily(() => import("./views/sign-in.js"), "signInView"));

// Where to go after signing in: where the visitor wanted to.
let wanted = location.pathname === "/sign-in" ? "/" : location.pathname + location.search;
let sessionOf = null;
let stopReviews = () => {};

function session() {
  header.classList.toggle("signed-out", token() === null);
  setText(whoami, viewer ? `${viewer.actor.name} · ${viewer.role.toLowerCase()}` : "");
  if (token() === sessionOf) return;
  sessionOf = token();
  stopReviews();
  disconnect();
  if (sessionOf === null) {
    if (location.pathname !== "/sign-in") wanted = location.pathname + location.search;
    go("/sign-in", { replace: true });
    return;
  }
  if (location.pathname === "/sign-in") go(wanted, { replace: true });
  else show({ anew: true });
  connect();
  stopReviews = watchReviews();
}

async function learn() {
  const mine = token();
  if (mine === null) return;
  const told = await synchronise("viewer { actor { id name } role }");
  if (mine === token()) setViewer(told.viewer);
}

onSession(session);
onConnection(({ state }) => {
  document.documentElement.dataset.connection = state;
  stopClock(state !== "live");
  if (state !== "live") return;
  learn().catch(() => {});
});
setInterval(() => token() && synchronise().catch(() => {}), 300_000);
document.getElementById("sign-out").addEventListener("click", () => signOut());
addEventListener("hashchange", () => takeFromAddress());

start(document.querySelector("main"));
document.getElementById("banners").prepend(connectionBanner());
if (!takeFromAddress()) {
  sessionOf = undefined;
  session();
}
