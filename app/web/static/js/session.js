// Who uses this tab. The token is kept for the tab alone, and never stays in the address bar.

const KEY = "slipway.token";
const listeners = new Set();

/** Why the last session ended, for the sign-in page to say. */
export let endedBecause = "";
/** {actor {id name}, role}, once the API has said so. */
export let viewer = null;

export const token = () => sessionStorage.getItem(KEY);

/** Take the token of a link …#token=… and take it out of the address; whether there was one. */
export function takeFromAddress() {
  const given = /^#token=(.+)$/.exec(location.hash);
  if (!given) return false;
  history.replaceState(null, "", location.pathname + location.search);
  signIn(decodeURIComponent(given[1]));
  return true;
}

export function signIn(secret) {
  sessionStorage.setItem(KEY, secret);
  viewer = null;
  endedBecause = "";
  tell();
}

export function signOut(because = "") {
  if (token() === null) return;
  sessionStorage.removeItem(KEY);
  viewer = null;
  endedBecause = because;
  tell();
}

export function setViewer(told) {
  viewer = told;
  tell();
}

const ROLES = ["VIEWER", "OPERATOR", "APPROVER", "ADMIN"];

/** Whether the caller's role includes another; the server decides all the same. */
export const may = (role) => viewer !== null && ROLES.indexOf(viewer.role) >= ROLES.indexOf(role);

/** Follow sign-in, sign-out and the viewer; returns what ends that. */
export function onSession(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = () => listeners.forEach((listener) => listener());
