// Which view is shown: by the path, without loading the page again. (A browser without the Navigation API loads it.)

import { errorNotice } from "./components/errors.js";
import { decoded, painted, setAttribute } from "./dom.js";

// Each page's path and the module in views/ that shows it: its nameView(params, outlet) begins with an h1, and returns
// what ends it. It is loaded when it is first shown (and told of by serving.py, so that it comes with the rest).
const PAGES = {
  "/": "releases",
  "/releases/:id": "release",
  "/features": "features",
  "/features/:key": "features",
  "/pipelines": "pipelines",
  "/pipelines/:id": "pipelines",
};

let outlet;
let dispose;
let shown = null;
let unsaved = () => false;
let title = "Slipway";
let mark = "";

/** Show the view of the address, and then of each that follows; it is there once that resolves. */
export function start(element) {
  outlet = element;
  globalThis.navigation?.addEventListener("navigate", follow);
  addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());
  return show();
}

/** Ask before the page is left as long as `check()` says that something is not saved. */
export const guardEdits = (check) => (unsaved = check);

/** Whether nothing is lost by going on, or somebody says that it may be. */
export function mayLeave() {
  if (unsaved() && !confirm("What you edited is not saved. Leave it?")) return false;
  unsaved = () => false;
  return true;
}

/** Go to a path, as by a link. */
export const go = (path) => location.assign(path);

function follow(event) {
  const { pathname, search } = new URL(event.destination.url);
  const isLink = event.canIntercept && !event.hashChange && event.navigationType !== "reload";
  if (!isLink || !find(pathname)) return;
  if (event.navigationType === "replace") shown = pathname + search;
  else if (event.cancelable && pathname + search !== shown && !mayLeave()) event.preventDefault();
  else event.intercept({ handler: show, focusReset: "manual" });
}

function find(path) {
  for (const [pattern, name] of Object.entries(PAGES)) {
    const found = new RegExp(`^${pattern.replace(/:(\w+)/, "(?<$1>[^/]+)")}$`).exec(path);
    if (found) return { name, params: found.groups ?? {} };
  }
}

async function show() {
  const path = location.pathname;
  const address = path + location.search;
  if (address === shown) return;
  shown = address;
  const { name, params } = find(path);
  for (const key in params) params[key] = decoded(params[key]);
  const module = await import(`./views/${name}.js`).catch(() => null);
  if (address !== shown) return;
  dispose?.call();
  outlet.replaceChildren();
  if (!module) return outlet.append(errorNotice({ message: "The server does not answer." }, () => location.reload()));
  dispose = module[`${name}View`](params, outlet);
  for (const each of document.querySelectorAll("nav a")) {
    const isThere = path === each.pathname || path.startsWith(`${each.pathname}/`);
    setAttribute(each, "aria-current", isThere && "page");
  }
  await introduce(outlet.querySelector("h1"));
}

/** Name the page after its heading, and go on from there by keyboard or screen reader, if nobody was quicker. */
async function introduce(heading) {
  if (!heading) return;
  setTitle(heading.textContent);
  heading.tabIndex = -1;
  await painted(); // to focus before would lay out the page once more
  if (!outlet.contains(document.activeElement)) heading.focus({ preventScroll: true });
}

export function setTitle(text) {
  title = text;
  document.title = `${mark}${title} · Slipway`;
}

/** What stands before every page's name in the tab. */
export function setMark(text) {
  mark = text;
  setTitle(title);
}
