// Who uses this tab. The token is kept for the tab alone, and never stays in the address bar.

import { decoded } from "./dom.js";

const TOKEN = "slipway.token";
const ENDED = "slipway.ended";
export const NOT_VALID = "The token is not valid, or not any more.";
const ROLES = ["VIEWER", "OPERATOR", "APPROVER", "ADMIN"];
const { promise, resolve } = Promise.withResolvers();

/** {actor {name}, role}, once the API has said so; that it has is `learned`. */
export let viewer = null;
export const learned = promise;

export const token = () => sessionStorage.getItem(TOKEN);

/** Take the token of a link …#token=… and take it out of the address; whether there was one. */
export function takeFromAddress() {
  const [, given] = /^#token=(.+)$/.exec(location.hash) ?? [];
  if (!given) return false;
  history.replaceState(null, "", location.pathname + location.search);
  sessionStorage.setItem(TOKEN, decoded(given));
  return true;
}

/** The page begins anew, so that nothing is left of the session before. */
export function signIn(secret) {
  sessionStorage.setItem(TOKEN, secret);
  location.reload();
}

export function signOut(because) {
  sessionStorage.clear();
  if (because) sessionStorage.setItem(ENDED, because);
  location.reload();
}

/** Why the last session ended; told once. */
export function endedBecause() {
  const because = sessionStorage.getItem(ENDED);
  sessionStorage.removeItem(ENDED);
  return because;
}

export function setViewer(told) {
  viewer = told;
  resolve(told);
}

/** Whether the caller's role includes another; the server decides all the same. */
export const may = (role) => viewer !== null && ROLES.indexOf(viewer.role) >= ROLES.indexOf(role);
